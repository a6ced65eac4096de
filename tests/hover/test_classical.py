from collections.abc import Callable

import numpy as np
import pytest

from cellvit.hover.classical import segment_classical

HEMATOXYLIN = (90, 60, 140)
EOSIN = (235, 190, 210)


def stained(mask: np.ndarray) -> np.ndarray:
    image = np.where(mask[..., None], HEMATOXYLIN, EOSIN)
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_touching_dark_discs_on_pink_are_found_and_parted(discs: Callable[..., np.ndarray]) -> None:
    truth = discs((20, 16), (20, 31), (46, 40), size_px=64)

    found = segment_classical(stained(truth > 0))

    assert found.dtype == np.int32
    assert found.max() == 3
    assert len({found[20, 16], found[20, 31], found[46, 40]}) == 3
    assert np.mean((found > 0) == (truth > 0)) > 0.97


@pytest.mark.parametrize("grey", [0, 200, 255])
def test_tile_of_one_colour_has_no_nucleus(grey: int) -> None:
    assert not segment_classical(np.full((32, 32, 3), grey, np.uint8)).any()


def test_small_specks_are_dropped(discs: Callable[..., np.ndarray]) -> None:
    truth = discs((20, 20))
    truth[50:53, 50:53] = 2

    assert segment_classical(stained(truth > 0)).max() == 1


@pytest.mark.real_tiles
def test_baseline_on_colon_is_where_a_trial_had_it(
    colon_tiles: list[tuple[np.ndarray, np.ndarray]], aji: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    scores = [aji(truth, segment_classical(image)) for image, truth in colon_tiles if truth.any()]

    assert 0.25 < np.mean(scores) < 0.45
