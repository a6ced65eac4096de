import math

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.classification import (
    accuracy,
    accuracy_majority,
    balanced_accuracy,
    confusion,
    expected_calibration_error,
)


def test_confusion_has_truth_in_rows_and_adds_up() -> None:
    truth, predicted = np.array([0, 0, 2, 1], np.uint8), np.array([0, 1, 2, 1])

    whole = confusion(truth, predicted, 4)

    assert whole.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert (confusion(truth[:2], predicted[:2], 4) + confusion(truth[2:], predicted[2:], 4) == whole).all()


def test_metrics_without_samples_are_undefined() -> None:
    none = confusion(np.array([], int), np.array([], int), 3)

    assert math.isnan(accuracy(none))
    assert math.isnan(balanced_accuracy(none))
    assert math.isnan(accuracy_majority(none))
    assert math.isnan(expected_calibration_error(np.zeros((0, 3)), np.array([], int)))


@pytest.mark.parametrize("wrong", [np.array([0, 3]), np.array([-1, 0]), np.array([0.0, 1.0])])
def test_classes_outside_the_range_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ContractError, match=r"predicted: expected classes 0\.\.2 as integers"):
        confusion(np.array([0, 1]), wrong, 3)


def test_predictions_of_other_samples_are_refused() -> None:
    with pytest.raises(ContractError, match=r"truth \(2,\) and predicted \(3,\)"):
        confusion(np.array([0, 1]), np.array([0, 1, 1]), 2)
    with pytest.raises(ContractError, match=r"each of 2 samples, found \(3, 2\)"):
        expected_calibration_error(np.full((3, 2), 0.5), np.array([0, 1]))


@pytest.mark.parametrize(
    ("bins", "confidence", "correct", "error"),
    [
        pytest.param(2, [0.5, 0.75], [[1], [0]], (0.5 + 0.75) / 2, id="edge_belongs_to_the_lower_bin"),
        pytest.param(10, [0.9, 0.55], [[1] * 8 + [0] * 2, [1] * 6 + [0] * 4], (0.1 + 0.05) / 2, id="no_cancelling"),
    ],
)
def test_calibration_error_of_known_confidences(
    bins: int, confidence: list[float], correct: list[list[int]], error: float
) -> None:
    top = np.repeat(confidence, len(correct[0]))

    found = expected_calibration_error(np.stack([top, 1 - top], axis=1), 1 - np.concatenate(correct), bins=bins)

    assert found == pytest.approx(error)


def test_the_baseline_of_accuracy_predicts_the_most_frequent_true_class() -> None:
    assert accuracy_majority(np.array([[1, 2, 0], [0, 1, 0], [0, 0, 0]])) == 3 / 4
