import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.errors import ContractError
from cellvit.hover.classes import calibrated, class_map, class_probabilities, classify


def votes(*pixels: tuple[int, float]) -> np.ndarray:
    """NT probabilities of one row of pixels: the winning class has the given value, the others share the rest."""
    nt_prob = np.zeros((6, 1, len(pixels)))
    for column, (winner, probability) in enumerate(pixels):
        nt_prob[:, 0, column] = (1 - probability) / 5
        nt_prob[winner, 0, column] = probability
    return nt_prob


def test_majority_of_the_pixels_decides_the_class() -> None:
    typed = classify(np.array([[1, 1, 1, 0, 2]]), votes((1, 0.9), (2, 0.6), (2, 0.6), (5, 1), (3, 0.8)))

    assert typed.classes.tolist() == [2, 3]
    assert typed.probability.tolist() == pytest.approx([(0.02 + 0.6 + 0.6) / 3, 0.8])


def test_votes_for_background_do_not_count() -> None:
    typed = classify(np.array([[1, 1, 1]]), votes((0, 0.9), (0, 0.9), (4, 0.5)))

    assert typed.classes.tolist() == [4]
    assert typed.probability.tolist() == pytest.approx([(0.02 + 0.02 + 0.5) / 3])


@pytest.mark.parametrize(
    ("nt_prob", "winner"),
    [
        pytest.param(np.array([0.5, 0.1, 0.1, 0.25, 0.05, 0.0]).reshape(6, 1, 1), 3, id="background_votes_only"),
        pytest.param(votes((2, 0.6), (5, 0.8)), 5, id="tie"),
    ],
)
def test_undecided_votes_go_to_the_most_probable_nuclear_class(nt_prob: np.ndarray, winner: int) -> None:
    assert classify(np.ones(nt_prob.shape[1:], int), nt_prob).classes.tolist() == [winner]


def test_tile_without_nuclei_has_no_classes() -> None:
    typed = classify(np.zeros((4, 4), np.int32), np.full((6, 4, 4), 1 / 6, np.float32))

    assert typed.classes.shape == typed.probability.shape == (0,)
    assert not class_map(np.zeros((4, 4), np.int32), typed.classes).any()


@pytest.mark.parametrize(
    ("instances", "nt_prob", "message"),
    [
        ([[1, 3]], votes((1, 1), (1, 1)), r"no pixel of label 2. Relabel with"),
        ([[1, 2]], np.zeros((6, 1, 3)), r"found \(6, 1, 3\) over \(1, 2\)"),
    ],
    ids=["gap", "shape"],
)
def test_maps_that_do_not_match_are_refused(instances: list[list[int]], nt_prob: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        classify(np.array(instances), nt_prob)


@given(hnp.arrays(np.int32, (5, 5), elements=st.integers(0, 4)))
def test_class_map_gives_each_pixel_the_class_of_its_nucleus(instances: np.ndarray) -> None:
    classes = np.array([5, 1, 3, 2], np.uint8)

    pixels = class_map(instances, classes)

    assert np.array_equal(pixels, np.choose(instances, [0, *classes]))


def test_class_probabilities_are_means_over_the_pixels_without_background() -> None:
    nt_prob = np.array([[[0.8, 0.0, 0.2]], [[0.1, 0.4, 0.8]], [[0.1, 0.6, 0.0]]])

    probability = class_probabilities(np.array([[1, 1, 2]]), nt_prob)

    assert probability.dtype == np.float32
    assert probability.tolist() == [pytest.approx([0.5 / 1.2, 0.7 / 1.2]), [1.0, 0.0]]


def test_class_probabilities_sum_to_one_even_if_a_nucleus_is_certainly_background() -> None:
    nt_prob = np.zeros((4, 2, 2), np.float32)
    nt_prob[0] = 1

    assert class_probabilities(np.ones((2, 2), np.int32), nt_prob).tolist() == [pytest.approx([1 / 3] * 3)]


def test_no_nuclei_have_no_probabilities_at_any_temperature() -> None:
    probability = class_probabilities(np.zeros((4, 4), np.int32), np.full((6, 4, 4), 1 / 6, np.float32))

    assert probability.shape == calibrated(probability, 2).shape == (0, 5)


@given(
    hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=16)),
    st.floats(0.05, 20),
)
def test_calibration_keeps_the_order_of_the_classes_and_sums_to_one(weights: np.ndarray, temperature: float) -> None:
    weights[:, 0] += 0.125
    probability = weights / weights.sum(axis=1, keepdims=True)

    scaled = calibrated(probability, temperature)

    ordered = np.take_along_axis(scaled, probability.argsort(axis=1), axis=1)
    assert scaled.sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert (np.diff(ordered, axis=1) >= 0).all()
    if temperature > 1:
        assert (scaled.max(axis=1) <= probability.max(axis=1) + 1e-6).all()


def test_temperature_one_changes_nothing() -> None:
    probability = np.array([[0.7, 0.2, 0.1]], np.float32)

    assert np.array_equal(calibrated(probability, 1.0), probability)
