"""One image in two roles of a split stops a run; a turned copy is warned of."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest

from cellvit.config.settings import load_settings
from cellvit.config.steps import CheckFoldsSettings, step_settings
from cellvit.errors import IntegrityError
from cellvit.formats.documents import read_document
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, FoldsCheck, TileBatch, append_tiles
from cellvit.formats.writing import writing
from cellvit.stages.check_folds import Arguments, run

ALL_MEET = ((1, 2), (1, 3), (2, 3))


def blots(n: int, *, seed: int) -> np.ndarray:
    """Images as different as tissue is."""
    rng = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(rng.normal(size=(256, 256, 3)), (0, 0), 6) for _ in range(n)]
    return np.clip(150 + 900 * np.array(noise).reshape(n, 256, 256, 3), 0, 255).astype(np.uint8)


@pytest.fixture
def check(tmp_path):
    """Write the folds with these images, and run the step; the path of its output."""

    def checked(
        images: dict[int, np.ndarray],
        *,
        meeting: tuple[tuple[int, int], ...] = ALL_MEET,
        patients: Mapping[int, tuple[str, ...]] = MappingProxyType({}),
    ) -> Path:
        paths = tuple(tmp_path / "tiles" / f"fold{fold}.h5" for fold in images)
        for path, (fold, of_fold) in zip(paths, images.items(), strict=True):
            n = len(of_fold)
            empty = np.zeros((n, 256, 256), np.int32)
            ids = tuple(f"f{fold}-{row:05d}" for row in range(n))
            batch = TileBatch(of_fold, empty, empty.astype(np.uint8), ("Colon",) * n, ids, patients.get(fold, ()))
            with writing(path, TILES, n, {}, Provenance(simulated=True)) as writer:
                append_tiles(writer, batch)
        settings, output = CheckFoldsSettings(meeting=meeting), tmp_path / "tiles" / "folds_check.json"
        run(Arguments(settings=settings, folds=tuple(images), tiles=paths, check=output))
        return output

    return checked


def test_folds_without_copies_pass(check):
    found = read_document(check({1: blots(3, seed=1), 2: blots(4, seed=2), 3: blots(0, seed=3)}), FoldsCheck)

    assert (found.n_tiles, found.compared, found.warnings) == (7, ALL_MEET, ())
    assert found.provenance.simulated
    assert list(found.provenance.made_from) == ["fold1.h5", "fold2.h5", "fold3.h5"]


def test_a_fold_that_is_a_copy_of_another_stops(check, tmp_path):
    images = blots(4, seed=2)

    with pytest.raises(IntegrityError) as caught:
        check({1: blots(3, seed=1), 2: images, 3: images})

    assert caught.match("identical_images: 4 of 4 images of fold 3 are identical to images of fold 2")
    assert caught.match("a wrong download is the most common cause")
    assert not (tmp_path / "tiles" / "folds_check.json").exists()


def test_one_tile_in_a_training_and_a_test_fold_stops_and_is_named(check):
    first, third = blots(3, seed=1), blots(3, seed=3)
    third[2] = first[1]

    with pytest.raises(IntegrityError, match=r"1 of 3 images of fold 3 .*In: f3-00002 of f1-00001\."):
        check({1: first, 2: blots(3, seed=2), 3: third})


def test_folds_that_never_meet_in_a_split_may_share_images(check):
    images = blots(3, seed=1)

    found = read_document(check({1: images, 2: blots(3, seed=2), 3: images}, meeting=((1, 2), (2, 3))), FoldsCheck)

    assert found.warnings == ()


def test_turned_copies_are_warned_of_and_named(check, caplog):
    first = blots(3, seed=1)

    with caplog.at_level(logging.WARNING):
        found = read_document(
            check({1: first, 2: np.ascontiguousarray(first[1:2, ::-1]), 3: blots(2, seed=3)}), FoldsCheck
        )

    (warning,) = found.warnings
    assert warning.startswith("similar_images: 1 images of fold 2 look like flipped")
    assert "f2-00000 of f1-00001" in warning
    assert warning in caplog.text


def test_a_fold_of_turned_and_brighter_copies_stops(check):
    first = blots(12, seed=1)
    copies = [cv2.convertScaleAbs(np.rot90(image), alpha=0.9, beta=10) for image in first[:3]]

    with pytest.raises(
        IntegrityError, match="similar_images: 3 images of fold 2 look like flipped, turned or compressed"
    ):
        check({1: first, 2: np.concatenate([copies, blots(9, seed=2)]), 3: blots(2, seed=3)})


def test_a_patient_in_a_training_and_a_test_fold_stops_and_is_named(check):
    images = {fold: blots(2, seed=fold) for fold in (1, 2, 3)}
    patients = {1: ("P1", "P2"), 2: ("P3", ""), 3: ("P2", "")}

    with pytest.raises(IntegrityError, match=r"shared_patients: 1 patients have tiles in folds 1 and 3, .* In: P2\."):
        check(images, patients=patients)

    found = read_document(check(images, patients=patients, meeting=((1, 2), (2, 3))), FoldsCheck)
    assert found.warnings == ()


def test_folds_meet_where_a_split_gives_them_different_roles():
    settings = load_settings(
        {
            "data": {"folds": [1, 2, 3, 4]},
            "splits": {"1": {"train": [1, 2], "validate": 3, "test": 4}, "2": None, "3": None},
        }
    )

    found = CheckFoldsSettings.model_validate_json(step_settings(settings, "check_folds"))

    assert found.meeting == ((1, 3), (1, 4), (2, 3), (2, 4), (3, 4))


def test_official_splits_let_all_folds_meet():
    assert CheckFoldsSettings.model_validate_json(step_settings(load_settings({}), "check_folds")).meeting == ALL_MEET
