import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.errors import ContractError, SettingsError
from cellvit.hover.decode import HoverNetWatershed, border_energy, class_map, classify, segment, segment_grid
from cellvit.hover.oracle import OracleMaps, oracle_maps

Discs = Callable[..., np.ndarray]


@pytest.fixture
def pair(discs: Discs) -> OracleMaps:
    """Perfect maps of two discs that touch."""
    return oracle_maps(discs((32, 22), (32, 40)))


def votes(*pixels: tuple[int, float]) -> np.ndarray:
    """NT probabilities of one row of pixels: the winning class has the given value, the others share the rest."""
    nt_prob = np.zeros((6, 1, len(pixels)))
    for column, (winner, probability) in enumerate(pixels):
        nt_prob[:, 0, column] = (1 - probability) / 5
        nt_prob[winner, 0, column] = probability
    return nt_prob


def test_two_touching_discs_stay_two_where_the_mask_alone_is_one_piece(pair: OracleMaps) -> None:
    labels = segment(*pair)

    assert labels.dtype == np.int32
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert labels[32, 22] != labels[32, 40]


def test_border_energy_is_high_between_touching_nuclei_and_low_inside(pair: OracleMaps) -> None:
    energy = border_energy(pair.hv, 21)

    assert energy[32, 31] > 0.9
    assert max(energy[32, 22], energy[32, 40]) < 0.4
    assert energy.min() >= 0
    assert energy.max() <= 1


@given(
    hnp.arrays(np.float32, (24, 24), elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.float32, (2, 24, 24), elements=st.floats(-1, 1, width=32)),
)
def test_labels_have_no_gaps_and_stay_in_the_mask(np_prob: np.ndarray, hv: np.ndarray) -> None:
    labels = segment(np_prob, hv)

    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))
    assert not labels[np_prob < 0.5].any()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_maps_of_other_precision_give_the_same(pair: OracleMaps, dtype: type) -> None:
    assert np.array_equal(segment(pair.np_prob.astype(dtype), pair.hv.astype(dtype)) > 0, segment(*pair) > 0)


@pytest.mark.parametrize(
    "np_prob",
    [
        pytest.param(np.zeros((32, 32), np.float32), id="no_nucleus"),
        pytest.param(np.ones((32, 32), np.float32), id="all_nucleus"),
    ],
)
def test_constant_distance_maps_seed_nothing(np_prob: np.ndarray) -> None:
    assert not segment(np_prob, np.zeros((2, 32, 32), np.float32)).any()


def test_nucleus_that_fills_the_tile_is_one() -> None:
    labels = segment(*oracle_maps(np.ones((48, 48), np.int32)))

    assert labels.max() == 1
    assert (labels == 1).all()


def test_small_pieces_of_the_mask_are_dropped(pair: OracleMaps) -> None:
    np_prob = pair.np_prob.copy()
    np_prob[2:5, 2:5] = 1

    assert segment(np_prob, pair.hv)[3, 3] == 0
    assert segment(np_prob, pair.hv, min_object_px=400).max() == 2
    assert segment(np_prob, pair.hv, min_object_px=600).max() == 0


def test_higher_np_threshold_gives_smaller_nuclei(pair: OracleMaps) -> None:
    soft = np.where(pair.np_prob > 0, np.linspace(0.4, 1, 64, dtype=np.float32), 0)

    sizes = [np.count_nonzero(segment(soft, pair.hv, np_threshold=threshold)) for threshold in (0.5, 0.6, 0.7)]

    assert sizes[0] > sizes[1] > sizes[2]


def test_marker_parameters_drop_nuclei_whose_marker_is_too_small(pair: OracleMaps) -> None:
    assert segment(*pair, hv_threshold=0.0).max() == 0
    assert segment(*pair, min_marker_px=250).max() == 0
    assert segment(*pair, opening_px=41).max() == 0


def test_larger_sobel_kernel_gives_a_smoother_energy(pair: OracleMaps) -> None:
    hv = pair.hv + np.random.default_rng(0).normal(0, 0.2, pair.hv.shape).astype(np.float32)

    roughness = [np.abs(np.diff(border_energy(hv, sobel_px))).mean() for sobel_px in (5, 11, 21)]

    assert roughness[0] > roughness[1] > roughness[2]


def test_grid_gives_what_each_set_of_parameters_gives_alone(pair: OracleMaps) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, pair.hv.shape).astype(np.float32)
    maps = OracleMaps(pair.np_prob * 0.8, pair.hv + noise)
    grid = [
        HoverNetWatershed(
            np_threshold=np_threshold, hv_threshold=hv_threshold, min_object_px=area_px, sobel_px=sobel_px
        )
        for np_threshold in (0.5, 0.9)
        for hv_threshold in (0.3, 0.5)
        for area_px in (0, 300)
        for sobel_px in (11, 21)
    ]

    found = list(segment_grid(*maps, grid))

    assert [chosen for chosen, _ in found] == grid
    for chosen, labels in found:
        assert np.array_equal(labels, segment(*maps, **dataclasses.asdict(chosen)))


def test_maps_are_not_changed(pair: OracleMaps) -> None:
    before = pair.np_prob.copy(), pair.hv.copy()

    segment(*pair)

    assert np.array_equal(before[0], pair.np_prob)
    assert np.array_equal(before[1], pair.hv)


def test_unknown_method_and_parameter_name_what_there_is(pair: OracleMaps) -> None:
    with pytest.raises(SettingsError, match="unknown watershed method 'magic'; there is: hovernet"):
        segment(*pair, method="magic")
    with pytest.raises(SettingsError, match=r"unknown watershed parameters threshold; there are: np_threshold, hv_thr"):
        segment(*pair, threshold=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("np_threshold", 1.5),
        ("np_threshold", float("nan")),
        ("hv_threshold", -0.1),
        ("min_object_px", -1),
        ("min_marker_px", -1),
        ("sobel_px", 20),
        ("sobel_px", 33),
        ("opening_px", 0),
    ],
)
def test_parameter_out_of_its_limits_is_refused_by_name(name: str, value: float, pair: OracleMaps) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be .*, found {value}"):
        segment(*pair, **{name: value})


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_refused(pair: OracleMaps, wrong: float) -> None:
    hv = pair.hv.copy()
    hv[1, 3, 4] = wrong

    with pytest.raises(ContractError, match=r"hv must be finite, found 1 of 8192"):
        segment(pair.np_prob, hv)


def test_maps_of_different_size_are_refused(pair: OracleMaps) -> None:
    with pytest.raises(ContractError, match=r"found \(64, 64\) and \(2, 32, 64\)"):
        segment(pair.np_prob, pair.hv[:, :32])


def test_majority_of_the_pixels_decides_the_class() -> None:
    typed = classify(np.array([[1, 1, 1, 0, 2]]), votes((1, 0.9), (2, 0.6), (2, 0.6), (5, 1), (3, 0.8)))

    assert typed.classes.tolist() == [2, 3]
    assert typed.probability.tolist() == pytest.approx([(0.02 + 0.6 + 0.6) / 3, 0.8])


def test_votes_for_background_do_not_count() -> None:
    typed = classify(np.array([[1, 1, 1]]), votes((0, 0.9), (0, 0.9), (4, 0.5)))

    assert typed.classes.tolist() == [4]
    assert typed.probability.tolist() == pytest.approx([(0.02 + 0.02 + 0.5) / 3])


def test_nucleus_that_votes_background_alone_gets_its_most_probable_nuclear_class() -> None:
    nt_prob = np.array([0.5, 0.1, 0.1, 0.25, 0.05, 0.0]).reshape(6, 1, 1)

    typed = classify(np.array([[1]]), nt_prob)

    assert typed.classes.tolist() == [3]
    assert typed.probability.tolist() == [0.25]


def test_tie_goes_to_the_surer_class() -> None:
    assert classify(np.array([[1, 1]]), votes((2, 0.6), (5, 0.8))).classes.tolist() == [5]


def test_tile_without_nuclei_has_no_classes() -> None:
    typed = classify(np.zeros((4, 4), np.int32), np.full((6, 4, 4), 1 / 6, np.float32))

    assert typed.classes.shape == typed.probability.shape == (0,)
    assert not class_map(np.zeros((4, 4), np.int32), typed.classes).any()


def test_labels_with_gaps_are_refused_with_the_remedy() -> None:
    with pytest.raises(ContractError, match=r"no pixel of label 2. Relabel with"):
        classify(np.array([[1, 3]]), votes((1, 1), (1, 1)))


def test_type_map_of_wrong_shape_is_refused() -> None:
    with pytest.raises(ContractError, match=r"found \(5, 1, 2\) over \(1, 2\)"):
        classify(np.array([[1, 2]]), np.zeros((5, 1, 2)))


@given(hnp.arrays(np.int32, (5, 5), elements=st.integers(0, 4)))
def test_class_map_says_the_class_of_each_pixels_nucleus(instances: np.ndarray) -> None:
    classes = np.array([5, 1, 3, 2], np.uint8)

    pixels = class_map(instances, classes)

    assert np.array_equal(pixels == 0, instances == 0)
    for label, nucleus_class in enumerate(classes, start=1):
        assert (pixels[instances == label] == nucleus_class).all()
