import math
from collections.abc import Callable

import numpy as np
import pytest

from cellvit.config.evaluation import WatershedSettings
from cellvit.evaluation.search import WHOLE_STEP, Space, axes_of, climb
from cellvit.evaluation.tuning import SEARCHED, Trial, Trials, part_of_each_organ, spaces_of, tuned
from cellvit.hover.decode import Watershed
from cellvit.hover.parameters import HoverNetWatershed, HvFlow

ORGANS = np.array(["Colon"] * 30 + ["Liver"] * 10, object)
SPACE = Space(HvFlow, axes_of(HvFlow, {"np_threshold": (0.4, 0.5, 0.6), "min_gain_px": (2.0, 5.0), "min_fit": (0.5,)}))


def trials(value: Callable[[Watershed, int], float], select_by: str = "aji", **changes) -> Trials[Watershed]:
    def compute(asked: list[Trial[Watershed]]):
        return (np.array([value(point, row) for point in points]) for row, points in asked)

    return Trials(select_by, compute, **{"organs": ORGANS, **changes})


def peak(np_threshold: float, min_gain_px: float) -> Callable[[Watershed, int], float]:
    """Value that is highest at this point of `hv_flow`, and lower for the other method."""

    def value(point: Watershed, row: int) -> float:
        if isinstance(point, HoverNetWatershed):
            return 0.0
        far = (point.np_threshold - np_threshold) ** 2 + (math.log(max(point.min_gain_px, 0.1) / min_gain_px) / 10) ** 2
        return 0.9 - far + 0.01 * (row % 3)

    return value


def test_an_axis_has_values_between_and_beyond_those_listed_within_the_limits() -> None:
    share, area, gain = axes_of(
        HvFlow, {"np_threshold": (0.5, 0.4), "min_object_px": (10, 30), "min_gain_px": (0.0, 4.0)}
    )

    assert [share.at(place) for place in (-2, 0, 1, 2, 4, 100)] == pytest.approx([0.3, 0.4, 0.45, 0.5, 0.6, 1])
    assert [area.at(place) for place in (-2, 0, 1, 2, 4)] == [3, 10, 17, 30, 90]
    assert [gain.at(place) for place in (-2, 0, 1, 2, 4)] == [0, 0, 2, 4, 8]


def test_a_search_starts_at_the_listed_values_nearest_to_the_defaults() -> None:
    assert SPACE.at(SPACE.start) == HvFlow(np_threshold=0.5, min_gain_px=5, min_fit=0.5)


def test_a_parameter_with_one_value_and_one_at_its_limit_are_not_moved() -> None:
    space = Space(HvFlow, axes_of(HvFlow, {"min_gain_px": (0.0, 5.0), "min_fit": (0.5,)}))

    neighbours = [space.at(position) for position in space.neighbours((0, 0), WHOLE_STEP)]

    assert neighbours == [HvFlow(min_gain_px=5, min_fit=0.5)]


def test_a_climb_goes_beyond_the_lists_and_stops_where_no_neighbour_is_better() -> None:
    value = peak(0.7, 20)

    position = climb(SPACE, SPACE.start, WHOLE_STEP, lambda points: np.array([value(point, 0) for point in points]))

    assert SPACE.at(position).np_threshold == pytest.approx(0.7)
    assert SPACE.at(position).min_gain_px == pytest.approx(31.25)  # 5 x 2.5 x 2.5, nearest to 20 among its neighbours


def test_a_climb_stays_where_every_score_is_undefined() -> None:
    undefined = climb(SPACE, SPACE.start, 1, lambda points: np.full(len(points), math.nan))

    assert undefined == SPACE.start


def test_the_search_finds_the_peak_to_half_a_step_and_ranks_what_was_tried_on_all_tiles_first() -> None:
    settings = WatershedSettings()
    scores = trials(peak(0.65, 9))

    found = tuned(spaces_of(settings), scores)

    assert isinstance(found[0].point, HvFlow)
    assert found[0].point.np_threshold == pytest.approx(0.65)
    on_all = [one for one in found if one.value.n == len(ORGANS)]
    values = [one.value.value for one in on_all]
    assert list(found[: len(on_all)]) == on_all
    assert values == sorted(values, reverse=True)
    assert found[0].value.low <= found[0].value.value <= found[0].value.high
    assert all(math.isnan(one.value.low) for one in found[len(on_all) :])
    assert {HoverNetWatershed} < {type(one.point) for one in found}


@pytest.mark.parametrize(
    ("organs", "groups"), [(ORGANS, np.zeros(40, np.int64)), (ORGANS[:1], None)], ids=["one patient", "one tile"]
)
def test_on_the_tiles_of_one_patient_the_starts_alone_are_compared(organs: np.ndarray, groups: np.ndarray) -> None:
    found = tuned(spaces_of(WatershedSettings()), trials(peak(0.65, 9), organs=organs, groups=groups))

    assert [one.point for one in found] == [HvFlow(), HoverNetWatershed()]
    assert [one.value.n for one in found] == [len(organs)] * 2


def test_two_patients_are_searched() -> None:
    found = tuned(spaces_of(WatershedSettings()), trials(peak(0.65, 9), groups=np.arange(40) // 20))

    assert found[0].point.np_threshold == pytest.approx(0.65)


def test_no_point_is_computed_twice_on_a_tile() -> None:
    seen = []

    def value(point: Watershed, row: int) -> float:
        seen.append((point, row))
        return peak(0.6, 5)(point, row)

    tuned(spaces_of(WatershedSettings()), trials(value))

    assert len(seen) == len(set(seen))


def test_lists_of_one_value_leave_one_point() -> None:
    settings = WatershedSettings(method=("hovernet",), np_threshold=(0.3,), hv_threshold=(0.3,), min_object_px=(10,))

    ((point, value),) = tuned(spaces_of(settings), trials(lambda _, row: 0.5 if row else math.nan))

    assert point == HoverNetWatershed(np_threshold=0.3, hv_threshold=0.3, min_object_px=10)
    assert (value.value, value.n) == (0.5, len(ORGANS) - 1)


@pytest.mark.parametrize(("select_by", "expected"), [("bpq", 0.75), ("aji", 0.625)])
def test_the_metric_is_averaged_as_it_is_reported(select_by: str, expected: float) -> None:
    scores = trials(lambda _, row: 0.5 if row < 30 else 1.0, select_by)

    (value,) = scores.means([HvFlow()], np.arange(40))

    assert value == expected
    assert scores.value(HvFlow()).value == expected


def test_intervals_are_over_patients() -> None:
    def spread(_: Watershed, row: int) -> float:
        return row // 5 / 8

    by_tile, by_patient = (trials(spread, groups=groups) for groups in (None, np.arange(40) // 5))
    tiles, patients = (scores.value(tuned([SPACE], scores)[0].point) for scores in (by_tile, by_patient))

    assert tiles.value == pytest.approx(patients.value)
    assert patients.high - patients.low > 1.5 * (tiles.high - tiles.low)


def test_a_part_of_the_tiles_has_every_organ_and_at_least_so_many_tiles() -> None:
    organs = np.array(["Colon"] * 100 + ["Liver"] * 3, object)

    eighth, most = (part_of_each_organ(organs, share, least=16) for share in (1 / 8, 1))

    assert (len(eighth), set(organs[eighth])) == (16 + 1, {"Colon", "Liver"})
    assert np.array_equal(most, np.arange(103))
    assert len(part_of_each_organ(organs[:9], 1 / 8, least=16)) == 9


def test_every_searched_parameter_has_a_list_in_the_settings() -> None:
    assert {name for names in SEARCHED.values() for name in names} < set(WatershedSettings.model_fields)
