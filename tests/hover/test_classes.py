import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.errors import ContractError
from cellvit.hover.classes import class_map, classify


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
