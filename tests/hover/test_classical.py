from collections.abc import Callable

import numpy as np
import pytest

from cellvit.hover.classical import classical_decoder, segment_classical
from cellvit.hover.parameters import Classical
from cellvit.metrics import aji

HEMATOXYLIN = (90, 60, 140)
EOSIN = (235, 190, 210)


def stained(mask: np.ndarray) -> np.ndarray:
    image = np.where(mask[..., None], HEMATOXYLIN, EOSIN)
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_touching_dark_discs_on_pink_are_separated_and_specks_dropped(discs: Callable[..., np.ndarray]) -> None:
    truth = discs((20, 16), (20, 31), (46, 40), size_px=64)
    speck = np.zeros_like(truth)
    speck[56:59, 4:7] = 1

    labels = segment_classical(stained((truth > 0) | (speck > 0)))

    assert labels.dtype == np.int32
    assert labels.max() == 3
    assert len({labels[20, 16], labels[20, 31], labels[46, 40]}) == 3
    assert np.mean((labels > 0) == (truth > 0)) > 0.97


def test_pieces_that_are_closer_than_seeds_may_be_stay_two_nuclei(discs: Callable[..., np.ndarray]) -> None:
    truth = discs((32, 22), (32, 40), radius_px=7)

    labels = segment_classical(stained(truth > 0), Classical(min_distance_px=20))

    assert labels.max() == 2
    assert labels[32, 22] != labels[32, 40]


def test_parameters_that_share_steps_give_the_nuclei_of_each_alone(discs: Callable[..., np.ndarray]) -> None:
    image = stained(discs((20, 16), (20, 31), (46, 40), size_px=64) > 0)
    points = [Classical(otsu_factor=f, min_distance_px=d) for f in (0.8, 1.2) for d in (5, 8)]

    decode = classical_decoder(image)

    assert all(np.array_equal(decode(point), segment_classical(image, point)) for point in points)


@pytest.mark.parametrize("grey", [0, 200, 255])
def test_tile_of_one_colour_has_no_nucleus(grey: int) -> None:
    assert not segment_classical(np.full((32, 32, 3), grey, np.uint8)).any()


@pytest.mark.real_tiles
def test_baseline_on_colon_has_the_aji_of_an_earlier_measurement(
    colon_tiles: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    assert 0.25 < np.mean([aji(truth, segment_classical(image)) for image, truth in colon_tiles]) < 0.45
