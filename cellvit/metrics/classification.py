"""Accuracy, balanced accuracy and calibration of a classifier."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer

from cellvit.errors import ContractError
from cellvit.metrics.ratio import mean_defined, ratio

CALIBRATION_BINS: Final = 15
"""Number of confidence bins, as in Guo et al. 2017, table 1."""


def confusion(
    truth: Integer[np.ndarray, " n"], predicted: Integer[np.ndarray, " n"], n_classes: int
) -> Int64[np.ndarray, "k k"]:
    """Number of samples of each true class (row) and predicted class (column); tables of several batches can be added.

    Raises:
        ContractError: Lengths differ, or a class is outside 0..n_classes - 1.

    Examples:
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    _check_classes("truth", truth, n_classes)
    _check_classes("predicted", predicted, n_classes)
    if truth.shape != predicted.shape:
        raise ContractError(
            f"confusion: expected one prediction per sample, found truth {truth.shape} and predicted {predicted.shape}. "
            "Pass the predicted class of each sample (argmax of its probabilities)."
        )
    pairs = truth.astype(np.int64) * n_classes + predicted
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def accuracy(counts: Int64[np.ndarray, "k k"]) -> float:
    """Fraction of the samples that is classified correctly; NaN without samples.

    Examples:
        >>> accuracy(np.array([[1, 1], [0, 2]]))
        0.75
    """
    return float(ratio(np.trace(counts), counts.sum()))


def balanced_accuracy(counts: Int64[np.ndarray, "k k"]) -> float:
    """Mean recall over the classes that the ground truth contains; NaN without samples.

    Examples:
        >>> balanced_accuracy(np.array([[3, 1, 0], [0, 1, 0], [0, 0, 0]]))
        0.875
    """
    return mean_defined(ratio(counts.diagonal(), counts.sum(axis=1)))


def accuracy_majority(counts: Int64[np.ndarray, "k k"]) -> float:
    """Baseline of `accuracy`: the most frequent true class is predicted for every sample; NaN without samples."""
    return float(ratio(counts.sum(axis=1).max(initial=0), counts.sum()))


def expected_calibration_error(
    probabilities: Float[np.ndarray, "n k"], truth: Integer[np.ndarray, " n"], *, bins: int = CALIBRATION_BINS
) -> float:
    """Mean gap between confidence and accuracy over confidence bins, weighted by their samples; NaN without samples.

    Bins have equal width and include their upper end. The confidence of a sample is its greatest probability.

    Raises:
        ContractError: Lengths differ, or a true class has no column.

    References:
        Guo et al., On calibration of modern neural networks, ICML 2017, equation 3.

    Examples:
        >>> probabilities = np.array([[0.75, 0.25], [0.75, 0.25]])
        >>> expected_calibration_error(probabilities, np.array([0, 1]))
        0.25
    """
    _check_classes("truth", truth, probabilities.shape[1])
    if len(probabilities) != len(truth):
        raise ContractError(
            f"calibration: expected probabilities for each of {len(truth)} samples, found {probabilities.shape}. "
            "Pass the softmax of the same samples in the same order."
        )
    right = probabilities.argmax(axis=1) == truth
    return float(calibration_error_of_sums(calibration_sums(probabilities.max(axis=1), right, bins=bins)))


def calibration_sums(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], *, bins: int = CALIBRATION_BINS
) -> Float64[np.ndarray, " bins+1"]:
    """Number of samples, then the sum of (right - confidence) of each confidence bin; the sums of tiles can be added.

    Args:
        confidence: Probability of the predicted class, 0..1.
        right: Whether the predicted class is the true one.
    """
    place = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    gap = np.bincount(place, right - confidence.astype(np.float64), minlength=bins)  # samples of a bin times its gap
    return np.concatenate([[len(confidence)], gap])


def calibration_error_of_sums(sums: Float64[np.ndarray, "*batch bins+1"]) -> Float64[np.ndarray, "*batch"]:
    """`expected_calibration_error` of summed `calibration_sums`; NaN without samples.

    Examples:
        >>> sums = calibration_sums(np.array([0.9, 0.9, 0.5]), np.array([True, False, True]))
        >>> round(float(calibration_error_of_sums(sums)), 4)  # (2 * |0.5 - 0.9| + 1 * |1 - 0.5|) / 3
        0.4333
    """
    return ratio(np.abs(sums[..., 1:]).sum(axis=-1), sums[..., 0])


def _check_classes(name: str, classes: Integer[np.ndarray, " n"], n_classes: int) -> None:
    if classes.dtype.kind not in "iu" or (classes.size and not 0 <= classes.min() <= classes.max() < n_classes):
        found = f"{classes.min()}..{classes.max()}" if classes.size else "nothing"
        raise ContractError(
            f"{name}: expected classes 0..{n_classes - 1} as integers, found {found} of {classes.dtype}. "
            "Pass the number of classes that the classifier knows, also if some are absent."
        )
