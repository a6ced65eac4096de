import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.errors import ContractError, SettingsError
from cellvit.hover.decode import METHODS, method_of, segment, segment_grid, watershed_of_method
from cellvit.hover.flow import HvFlow
from cellvit.hover.hovernet import HoverNetWatershed
from cellvit.hover.oracle import OracleMaps, oracle_maps

Discs = Callable[..., np.ndarray]

each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def pair(discs: Discs) -> OracleMaps:
    """Perfect maps of two discs that touch."""
    return oracle_maps(discs((32, 22), (32, 40)))


@each_method
def test_two_touching_discs_stay_two_where_the_mask_alone_is_one_piece(pair: OracleMaps, method: str) -> None:
    labels = segment(*pair, method=method)

    assert labels.dtype == np.int32
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert labels[32, 22] != labels[32, 40]


@each_method
@given(
    hnp.arrays(np.float32, (24, 24), elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.float32, (2, 24, 24), elements=st.floats(-1, 1, width=32)),
)
def test_labels_have_no_gaps_and_stay_in_the_mask(method: str, np_prob: np.ndarray, hv: np.ndarray) -> None:
    labels = segment(np_prob, hv, method=method)

    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))
    assert not labels[np_prob < 0.5].any()


@each_method
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_maps_of_other_precision_give_the_same(pair: OracleMaps, dtype: type, method: str) -> None:
    other = segment(pair.np_prob.astype(dtype), pair.hv.astype(dtype), method=method)

    assert np.array_equal(other > 0, segment(*pair, method=method) > 0)


@each_method
@pytest.mark.parametrize("side_px", [48, 256])
def test_nucleus_that_fills_the_tile_is_one(method: str, side_px: int) -> None:
    labels = segment(*oracle_maps(np.ones((side_px, side_px), np.int32)), method=method)

    assert labels.max() == 1
    assert (labels == 1).all()


@each_method
def test_small_pieces_of_the_mask_are_dropped(pair: OracleMaps, method: str) -> None:
    np_prob = pair.np_prob.copy()
    np_prob[2:5, 2:5] = 1

    assert segment(np_prob, pair.hv, method=method)[3, 3] == 0
    assert segment(np_prob, pair.hv, method=method, min_object_px=200).max() == 2
    assert segment(np_prob, pair.hv, method=method, min_object_px=600).max() == 0


@each_method
def test_higher_np_threshold_gives_smaller_nuclei(pair: OracleMaps, method: str) -> None:
    soft = np.where(pair.np_prob > 0, np.linspace(0.4, 1, 64, dtype=np.float32), 0)

    found = [segment(soft, pair.hv, method=method, np_threshold=threshold) for threshold in (0.5, 0.6, 0.7)]
    sizes = [np.count_nonzero(labels) for labels in found]

    assert sizes[0] > sizes[1] > sizes[2]


def test_grid_gives_what_each_set_of_parameters_gives_alone(pair: OracleMaps) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, pair.hv.shape).astype(np.float32)
    maps = OracleMaps(pair.np_prob * np.linspace(0.4, 1, 64, dtype=np.float32), pair.hv + noise)
    grid = [
        HoverNetWatershed(
            np_threshold=np_threshold, hv_threshold=hv_threshold, min_object_px=area_px, sobel_px=sobel_px
        )
        for np_threshold in (0.5, 0.7)
        for hv_threshold in (0.3, 0.5)
        for area_px in (0, 300)
        for sobel_px in (11, 21)
    ]
    grid += [
        HvFlow(np_threshold=np_threshold, min_gain_px=gain_px, min_object_px=area_px, window_px=window_px)
        for np_threshold in (0.5, 0.7)
        for gain_px in (0, 20)
        for area_px in (0, 300)
        for window_px in (11, 25)
    ]

    found = list(segment_grid(*maps, grid))

    assert [chosen for chosen, _ in found] == grid
    assert {labels.max() for _, labels in found} == {0, 1, 2}
    for chosen, labels in found:
        assert np.array_equal(labels, segment(*maps, method=method_of(chosen), **dataclasses.asdict(chosen)))


@each_method
def test_maps_are_not_changed(pair: OracleMaps, method: str) -> None:
    before = pair.np_prob.copy(), pair.hv.copy()

    segment(*pair, method=method)

    assert np.array_equal(before[0], pair.np_prob)
    assert np.array_equal(before[1], pair.hv)


def test_unknown_method_and_parameter_name_what_there_is(pair: OracleMaps) -> None:
    with pytest.raises(SettingsError, match="unknown watershed method 'magic'; there are: hovernet, hv_flow"):
        segment(*pair, method="magic")
    with pytest.raises(SettingsError, match=r"unknown hovernet parameters threshold; there are: np_threshold, hv_thr"):
        segment(*pair, threshold=0.5)
    with pytest.raises(SettingsError, match=r"unknown hv_flow parameters sobel_px; there are: np_threshold, min_gain"):
        segment(*pair, method="hv_flow", sobel_px=21)


def test_pixels_are_whole() -> None:
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
def test_parameter_out_of_its_limits_is_refused_by_name(method: str, name: str, value: float, pair: OracleMaps) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be .*, found {value}"):
        segment(*pair, method=method, **{name: value})


@each_method
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_refused(pair: OracleMaps, wrong: float, method: str) -> None:
    hv = pair.hv.copy()
    hv[1, 3, 4] = wrong

    with pytest.raises(ContractError, match=r"hv must be finite, found 1 of 8192"):
        segment(pair.np_prob, hv, method=method)


@pytest.mark.parametrize("values", [(-0.5, 0.5), (0, 255)])
def test_what_is_no_probability_is_refused(pair: OracleMaps, values: tuple[float, float]) -> None:
    low, high = values

    with pytest.raises(ContractError, match=rf"probabilities from 0 to 1, found {low} to {high}\. Give the softmax"):
        segment(np.where(pair.np_prob > 0, high, low), pair.hv)


@each_method
def test_maps_in_any_memory_layout_are_read(pair: OracleMaps, method: str) -> None:
    expected = segment(*pair, method=method)

    turned = segment(pair.np_prob[:, ::-1][:, ::-1], np.asfortranarray(pair.hv), method=method)

    assert np.array_equal(turned, expected)


def test_empty_maps_are_refused() -> None:
    with pytest.raises(ContractError, match=r"found \(0, 4\) and \(2, 0, 4\)"):
        segment(np.zeros((0, 4)), np.zeros((2, 0, 4)))


def test_maps_of_different_size_are_refused(pair: OracleMaps) -> None:
    with pytest.raises(ContractError, match=r"found \(64, 64\) and \(2, 32, 64\)"):
        segment(pair.np_prob, pair.hv[:, :32])
