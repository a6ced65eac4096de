from collections.abc import Callable

import numpy as np
import pytest

from cellvit.hover.decode import segment
from cellvit.hover.upper_bound import perfect_maps
from cellvit.metrics import aji
from cellvit.metrics.contingency import contingency


@pytest.mark.parametrize("method", ["hovernet", "hv_flow"])
@pytest.mark.parametrize(
    "centres",
    [
        pytest.param([], id="empty"),
        pytest.param([(32, 32)], id="alone"),
        pytest.param([(32, 22), (32, 40)], id="touching_side_by_side"),
        pytest.param([(22, 32), (40, 32)], id="touching_above"),
        pytest.param([(24, 24), (38, 38)], id="touching_across"),
        pytest.param([(20, 20), (20, 38), (38, 20), (38, 38)], id="four"),
        pytest.param([(4, 4), (60, 60)], id="cut_by_border"),
    ],
)
def test_round_trip_recovers_every_nucleus(
    centres: list[tuple[int, int]], method: str, discs: Callable[..., np.ndarray]
) -> None:
    truth = discs(*centres)

    labels = segment(*perfect_maps(truth), method=method)

    assert labels.max() == len(centres)
    assert (contingency(truth, labels).iou.max(axis=1, initial=0) > 0.8).all()


@pytest.mark.real_tiles
@pytest.mark.parametrize(("method", "expected"), [("hovernet", 0.87), ("hv_flow", 0.99)])
def test_upper_bound_on_colon_is_the_published_one(
    colon_tiles: list[tuple[np.ndarray, np.ndarray]], method: str, expected: float
) -> None:
    scores = [aji(truth, segment(*perfect_maps(truth), method=method)) for _, truth in colon_tiles]

    assert np.mean(scores) == pytest.approx(expected, abs=0.03 if method == "hovernet" else 0.005)
