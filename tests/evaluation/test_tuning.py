import math

import numpy as np
import pytest

from cellvit.config.evaluation import WatershedSettings
from cellvit.evaluation.tuning import border_warnings, grid_of, ranked
from cellvit.hover.parameters import HoverNetWatershed, HvFlow

SETTINGS = WatershedSettings(
    method=("hovernet",), np_threshold=(0.5, 0.4, 0.6), hv_threshold=(0.3,), min_object_px=(10, 30)
)
BOTH = WatershedSettings(
    np_threshold=(0.4, 0.5), hv_threshold=(0.3,), min_object_px=(10,), min_gain_px=(0, 5), min_fit=(0.5,)
)


def test_the_grid_has_every_combination_of_each_method() -> None:
    published, both = grid_of(SETTINGS), grid_of(BOTH)

    assert len(set(published)) == len(published) == 6
    assert published[1] == HoverNetWatershed(np_threshold=0.5, hv_threshold=0.3, min_object_px=30)
    assert [type(point) for point in both] == 2 * [HoverNetWatershed] + 4 * [HvFlow]
    assert both[3] == HvFlow(np_threshold=0.4, min_gain_px=5, min_object_px=10)


def test_the_best_point_names_its_method_and_parameters() -> None:
    aji = np.full((2, 6), 0.2)
    aji[:, 5] = 0.4

    (best, point), *_ = ranked(grid_of(BOTH), aji, groups=None)

    assert isinstance(best, HvFlow)
    assert point.method == "hv_flow"
    assert set(point.parameters) == {"np_threshold", "min_gain_px", "min_object_px", "min_fit"}


def test_the_best_point_comes_first_with_its_interval() -> None:
    grid = grid_of(SETTINGS)
    aji = np.full((4, 6), 0.2)
    aji[:, 4] = [0.5, 0.6, math.nan, 0.7]

    (best, point), *_, (_, last) = ranked(grid, aji, groups=None)

    assert best == grid[4]
    assert point.parameters == {
        name: getattr(grid[4], name) for name in ("np_threshold", "hv_threshold", "min_object_px")
    }
    assert point.aji.value == pytest.approx(0.6)
    assert point.aji.n == 3
    assert point.aji.low <= 0.6 <= point.aji.high
    assert last.aji.value == pytest.approx(0.2)


def test_the_interval_of_a_point_samples_patients() -> None:
    aji = np.repeat(np.linspace(0.1, 0.9, 6), 5)[:, None] + np.zeros(6)

    (_, by_tile), *_ = ranked(grid_of(SETTINGS), aji, groups=None)
    (_, by_patient), *_ = ranked(grid_of(SETTINGS), aji, groups=np.repeat(np.arange(6), 5))

    assert by_patient.aji.value == pytest.approx(by_tile.aji.value)
    assert by_patient.aji.high - by_patient.aji.low > 1.5 * (by_tile.aji.high - by_tile.aji.low)


def test_equal_points_keep_the_order_of_the_grid_and_undefined_ones_come_last() -> None:
    grid = grid_of(SETTINGS)
    aji = np.full((2, 6), 0.3)
    aji[:, 0] = math.nan

    points = ranked(grid, aji, groups=None)

    assert [chosen for chosen, _ in points] == [*grid[1:], grid[0]]
    assert points[-1][1].aji.n == 0


def test_a_best_value_at_the_border_of_its_list_is_named_with_the_side_to_extend() -> None:
    (of_published,) = border_warnings(HoverNetWatershed(np_threshold=0.5, hv_threshold=0.3, min_object_px=30), SETTINGS)
    (of_flow,) = border_warnings(HvFlow(np_threshold=0.4, min_gain_px=0), BOTH)

    assert "min_object_px, 30," in of_published
    assert "larger value to watershed.min_object_px" in of_published
    assert "np_threshold, 0.4," in of_flow  # and not min_gain_px, which cannot go below 0


def test_a_list_of_one_value_has_no_border() -> None:
    single = WatershedSettings(method=("hovernet",), np_threshold=(0.5,), hv_threshold=(0.3,), min_object_px=(10,))

    assert border_warnings(grid_of(single)[0], single) == ()
