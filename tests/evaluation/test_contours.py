"""Contours stand out from any tissue, and show what became of each nucleus."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellvit.evaluation.contours import (
    LEAST_CONTRAST,
    OUTCOMES,
    UNKNOWN_CLASS,
    contours,
    contrast,
    halo_of,
    outcomes_of,
    rgb_of,
)
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.own_draft import PALETTE
from cellvit.metrics.pannuke import tile_scores

REAL = Path(__file__).parents[3] / "shared" / "real_tiles" / "images"
DEFAULTS = sorted({*(entry.color for entry in PANNUKE.classes), *OUTCOMES.values(), UNKNOWN_CLASS})


def color(name: str) -> np.ndarray:
    return np.array(rgb_of(name))


def test_contrast_is_that_of_wcag() -> None:
    assert contrast(color("#000000"), color("#ffffff")) == pytest.approx(21)
    assert contrast(color("#767676"), color("#ffffff")) == pytest.approx(4.54, abs=0.01)
    assert contrast(color("#777777"), color("#ffffff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", sorted({*DEFAULTS, *PALETTE}))
def test_every_contour_has_the_contrast_of_text_against_its_halo(name: str) -> None:
    assert contrast(color(name), color(halo_of(name))) >= LEAST_CONTRAST


def test_any_colour_that_a_user_chooses_has_it_too() -> None:
    levels = np.linspace(0, 255, 18).astype(int)
    names = [f"#{r:02x}{g:02x}{b:02x}" for r in levels for g in levels for b in levels]

    found = [contrast(color(name), color(halo_of(name))) for name in names]

    assert min(found) >= LEAST_CONTRAST


@pytest.mark.real_tiles
def test_a_contour_with_its_halo_stands_out_from_real_tissue() -> None:
    """One of both differs from the pixel beside it by 4.5:1 on most tissue, and never by less than 2.5:1."""
    paths = sorted(REAL.iterdir())[::8]
    tissue = np.concatenate([np.asarray(Image.open(path).convert("RGB"))[::4, ::4].reshape(-1, 3) for path in paths])

    for name in DEFAULTS:
        found = np.maximum(contrast(color(name), tissue), contrast(color(halo_of(name)), tissue))
        assert (found >= LEAST_CONTRAST).mean() > 0.85, name
        assert found.min() > 2.5, name


def test_outcomes_differ_without_red_green_vision() -> None:
    """Deuteranopia as simulated by Machado et al. 2009, on linear RGB."""
    matrix = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    seen = [255 * np.clip(matrix @ (color(name) / 255) ** 2.2, 0, 1) ** (1 / 2.2) for name in OUTCOMES.values()]

    distances = [np.abs(one - other).max() for place, one in enumerate(seen) for other in seen[:place]]

    assert min(distances) > 60


def squares(*boxes: tuple[int, int, int]) -> np.ndarray:
    """Squares of 10 px with their class by row and column, as instances and classes."""
    maps = np.zeros((2, 64, 64), np.int32)
    for label, (row, column, number) in enumerate(boxes, 1):
        maps[:, row : row + 10, column : column + 10] = np.array([label, number])[:, None, None]
    return maps


def test_nuclei_are_matched_missed_false_or_of_another_class() -> None:
    truth = squares((5, 5, 1), (5, 30, 2), (40, 5, 3), (40, 40, 0))
    predicted = squares((6, 5, 1), (5, 31, 5), (25, 45, 3), (40, 40, 2))

    scores = tile_scores(truth[0], truth[1], predicted[0], predicted[1])
    of_truth, of_prediction = outcomes_of(scores)

    assert of_truth == ["matched", "other_class", "missed", "matched"]
    assert of_prediction == ["matched", "other_class", "false", "matched"]


def test_a_contour_runs_inside_its_nucleus_and_touching_nuclei_have_one_each() -> None:
    instances = squares((5, 5, 1), (5, 15, 1))[0]

    (both,) = contours(instances, np.array([1, 1]), ["matched", "matched"])

    assert both.n_nuclei == 2
    assert [ring_points(ring) for ring in both.path.split("z")[:-1]] == [
        {(5, 5), (14, 5), (14, 14), (5, 14)},
        {(15, 5), (24, 5), (24, 14), (15, 14)},
    ]


def test_a_nucleus_of_a_pixel_is_a_dot_and_one_in_pieces_has_all_of_them() -> None:
    instances = np.zeros((8, 8), np.int32)
    instances[1, 1] = 1
    instances[4, 4] = instances[6, 6] = 2

    found = contours(instances, np.array([1, 2]), ["false", "missed"])

    assert [(one.class_number, one.outcome, one.path) for one in found] == [
        (1, "false", "M1 1h0z"),
        (2, "missed", "M6 6h0zM4 4h0z"),
    ]


def ring_points(ring: str) -> set[tuple[int, int]]:
    """Corners of a closed path of relative steps."""
    numbers = list(map(int, re.findall(r"-?\d+", ring)))
    steps = np.array(numbers).reshape(-1, 2)
    return {(int(x), int(y)) for x, y in np.cumsum(steps, axis=0)}
