import re
from collections import Counter

import numpy as np
import pytest

from cellvit.data.annotations.labels import annotation_of_ids, classes_of_most_pixels, paint
from cellvit.data.annotations.raster_rules import RASTER_RULES


def test_the_documentation_lists_every_rule(repository):
    text = (repository / "docs/annotations.md").read_text()

    assert [name for name in RASTER_RULES if f"`{name}`" not in text] == []


@pytest.mark.parametrize("module", ["labels", "label_map", "masks", "matlab", "arrays"])
def test_every_name_that_is_counted_is_a_rule_with_a_meaning(repository, module):
    text = (repository / f"cellvit/data/annotations/{module}.py").read_text()

    counted = set(re.findall(r'counts\["(\w+)"\]', text))
    for arguments in re.findall(r"Counter\(([^()]*=.*?)\n", text, re.DOTALL):
        counted |= set(re.findall(r"^\s*(\w+)=", arguments, re.MULTILINE))

    assert counted
    assert counted <= RASTER_RULES.keys()


@pytest.mark.parametrize("seed", range(5))
def test_painting_loses_no_mask_that_is_not_covered_by_smaller_ones(seed):
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(12):
        top, left, height, width = rng.integers(0, 20), rng.integers(0, 20), rng.integers(2, 15), rng.integers(2, 15)
        mask = np.zeros((40, 40), bool)
        mask[top : top + height, left : left + width] = True
        masks.append(np.flatnonzero(mask))

    ids, counts = paint(masks, (40, 40))

    present = set(np.unique(ids[ids > 0]).tolist())
    assert np.count_nonzero(ids) == len(np.unique(np.concatenate(masks)))
    assert len(present) + counts["covered"] + counts["duplicates"] == len(masks)
    for number, mask in enumerate(masks, start=1):
        owners = ids.reshape(-1)[mask]
        assert all(len(masks[owner - 1]) <= len(mask) for owner in owners if owner != number)


def test_a_rotated_image_gives_the_rotated_annotation_with_the_same_counts(ids, tmp_path):
    class_map = np.where(ids == 12, 2, 0) + (ids == 7)
    class_map[25:27] = 0
    found = []
    for turns in range(2):
        counts = Counter()
        turned, classes = (np.rot90(array, turns).astype(np.int64) for array in (ids, class_map))
        by_id = classes_of_most_pixels(tmp_path, turned, classes, counts)
        found.append(annotation_of_ids(tmp_path, turned, by_id, counts))

    np.testing.assert_array_equal(np.rot90(found[0].instances), found[1].instances)
    assert found[0].classes == found[1].classes == ("", "1", "2", "")
    assert found[0].counts == found[1].counts
