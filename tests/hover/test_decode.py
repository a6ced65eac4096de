import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.errors import ContractError, SettingsError
from cellvit.hover.decode import METHODS, method_of, segment, segment_grid, watershed_of_method
from cellvit.hover.parameters import HoverNetWatershed, HvFlow
from cellvit.hover.upper_bound import PerfectMaps, perfect_maps

each_method = pytest.mark.parametrize("method", METHODS)


@each_method
@given(
    hnp.arrays(np.float32, (24, 24), elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.float32, (2, 24, 24), elements=st.floats(-1, 1, width=32)),
)
def test_labels_have_no_gaps_and_are_inside_the_mask(method: str, np_prob: np.ndarray, hv: np.ndarray) -> None:
    labels = segment(np_prob, hv, method=method)

    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))
    assert not labels[np_prob < 0.5].any()


@each_method
def test_maps_of_any_precision_and_memory_layout_give_the_same_and_are_not_changed(
    pair: PerfectMaps, method: str
) -> None:
    before, labels = (pair.np_prob.copy(), pair.hv.copy()), segment(*pair, method=method)

    reordered = segment(pair.np_prob[:, ::-1][:, ::-1], np.asfortranarray(pair.hv), method=method)
    double = segment(pair.np_prob.astype(np.float64), pair.hv.astype(np.float64), method=method)
    half = segment(pair.np_prob.astype(np.float16), pair.hv.astype(np.float16), method=method)

    assert np.array_equal(reordered, labels)
    assert np.array_equal(double, labels)
    assert np.array_equal(half > 0, labels > 0)
    assert all(map(np.array_equal, before, pair))


@each_method
@pytest.mark.parametrize("side_px", [48, 256])
def test_nucleus_that_fills_the_tile_is_one(method: str, side_px: int) -> None:
    assert (segment(*perfect_maps(np.ones((side_px, side_px), np.int32)), method=method) == 1).all()


@each_method
def test_small_pieces_of_the_mask_are_dropped(pair: PerfectMaps, method: str) -> None:
    np_prob = pair.np_prob.copy()
    np_prob[2:5, 2:5] = 1

    assert segment(np_prob, pair.hv, method=method)[3, 3] == 0
    assert segment(np_prob, pair.hv, method=method, min_object_px=200).max() == 2
    assert segment(np_prob, pair.hv, method=method, min_object_px=600).max() == 0


def test_grid_gives_what_each_set_of_parameters_gives_alone(pair: PerfectMaps) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, pair.hv.shape).astype(np.float32)
    maps = PerfectMaps(pair.np_prob * np.linspace(0.4, 1, 64, dtype=np.float32), pair.hv + noise)
    grid = [
        make(np_threshold=np_threshold, min_object_px=area_px, **{border: value, window: side_px})
        for make, border, values, window in (
            (HoverNetWatershed, "hv_threshold", (0.3, 0.5), "sobel_px"),
            (HvFlow, "min_gain_px", (0, 20), "window_px"),
        )
        for np_threshold, area_px, value, side_px in product((0.5, 0.7), (0, 300), values, (11, 25))
    ]

    results = list(segment_grid(*maps, grid))

    assert [chosen for chosen, _ in results] == grid
    assert {labels.max() for _, labels in results} == {0, 1, 2}
    for chosen, labels in results:
        assert np.array_equal(labels, segment(*maps, method=method_of(chosen), **dataclasses.asdict(chosen)))


def test_errors_of_unknown_names_list_the_known_ones(pair: PerfectMaps) -> None:
    with pytest.raises(SettingsError, match="unknown watershed method 'magic'; the methods are hovernet, hv_flow"):
        segment(*pair, method="magic")
    with pytest.raises(
        SettingsError, match=r"unknown hovernet parameters threshold; the parameters are np_threshold, hv_thr"
    ):
        segment(*pair, threshold=0.5)
    with pytest.raises(
        SettingsError, match=r"unknown hv_flow parameters sobel_px; the parameters are np_threshold, min_gain"
    ):
        segment(*pair, method="hv_flow", sobel_px=21)


def test_pixels_must_be_whole_numbers() -> None:
    assert watershed_of_method("hv_flow", {"min_object_px": 30.0}) == HvFlow(min_object_px=30)
    with pytest.raises(SettingsError, match=r"min_object_px must be a whole number, found 30\.5"):
        watershed_of_method("hv_flow", {"min_object_px": 30.5})


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("hovernet", "np_threshold", 1.5),
        ("hovernet", "np_threshold", float("nan")),
        ("hovernet", "hv_threshold", -0.1),
        ("hovernet", "min_object_px", -1),
        ("hovernet", "min_marker_px", -1),
        ("hovernet", "sobel_px", 20),
        ("hovernet", "sobel_px", 33),
        ("hovernet", "opening_px", 0),
        ("hv_flow", "np_threshold", -0.5),
        ("hv_flow", "min_gain_px", -1),
        ("hv_flow", "min_gain_px", float("nan")),
        ("hv_flow", "min_object_px", -1),
        ("hv_flow", "min_fit", 1.1),
        ("hv_flow", "window_px", 24),
        ("hv_flow", "window_px", 1),
    ],
)
def test_parameter_out_of_its_limits_is_refused_by_name(method: str, name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be .*, found {value}"):
        watershed_of_method(method, {name: value})


FINITE, NUCLEAR = np.zeros((2, 4, 4)), np.ones((4, 4))


@pytest.mark.parametrize(
    ("np_prob", "hv", "message"),
    [
        pytest.param(
            NUCLEAR, np.where(np.arange(4) == 1, np.nan, FINITE), "hv must be finite, found 8 of 32", id="nan"
        ),
        pytest.param(NUCLEAR * np.inf, FINITE, "np_prob must be finite, found 16 of 16", id="infinite"),
        pytest.param(NUCLEAR * 255, FINITE, "from 0 to 1, found 255 to 255. Pass the softmax", id="image"),
        pytest.param(NUCLEAR * -0.5, FINITE, "from 0 to 1, found -0.5 to -0.5", id="logits"),
        pytest.param(NUCLEAR[:0], FINITE[:, :0], r"found \(0, 4\) and \(2, 0, 4\)", id="empty"),
        pytest.param(NUCLEAR, FINITE[:, :2], r"found \(4, 4\) and \(2, 2, 4\)", id="different_sizes"),
    ],
)
def test_invalid_maps_are_refused(np_prob: np.ndarray, hv: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        segment(np_prob, hv)
