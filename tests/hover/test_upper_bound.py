from collections.abc import Callable

import numpy as np
import pytest

from cellvit.hover.decode import segment
from cellvit.hover.oracle import oracle_maps

Score = Callable[[np.ndarray, np.ndarray], float]


def test_maps_are_probability_and_distances() -> None:
    maps = oracle_maps(np.array([[0, 8, 8, 8]], np.uint16))

    assert maps.np_prob.tolist() == [[0, 1, 1, 1]]
    assert maps.hv[0].tolist() == [[0, -1, 0, 1]]
    assert maps.np_prob.dtype == maps.hv.dtype == np.float32


@pytest.mark.parametrize(
    "centres",
    [
        pytest.param([(32, 32)], id="alone"),
        pytest.param([(32, 22), (32, 40)], id="touching_side_by_side"),
        pytest.param([(22, 32), (40, 32)], id="touching_above"),
        pytest.param([(24, 24), (38, 38)], id="touching_across"),
        pytest.param([(20, 20), (20, 38), (38, 20), (38, 38)], id="four"),
        pytest.param([(4, 4), (60, 60)], id="cut_by_border"),
    ],
)
def test_round_trip_recovers_every_nucleus(
    centres: list[tuple[int, int]], discs: Callable[..., np.ndarray], intersections: Score
) -> None:
    truth = discs(*centres)

    found = segment(*oracle_maps(truth))

    shared = intersections(truth, found)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    assert found.max() == len(centres)
    assert (shared / union).max(axis=1)[1:].min() > 0.8


def test_round_trip_of_an_empty_tile_is_empty() -> None:
    assert not segment(*oracle_maps(np.zeros((64, 64), np.int32))).any()


@pytest.mark.real_tiles
def test_ceiling_on_colon_is_the_published_one(colon_tiles: list[tuple[np.ndarray, np.ndarray]], aji: Score) -> None:
    scores = [aji(truth, segment(*oracle_maps(truth))) for _, truth in colon_tiles if truth.any()]

    assert np.mean(scores) == pytest.approx(0.87, abs=0.03)
