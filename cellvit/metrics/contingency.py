"""Pixels that true and predicted nuclei share: the table from which every overlap metric is computed."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cellvit.hover.relabel import renumber
from cellvit.metrics.instances import InstanceMap, check_ids, check_instance_map, check_same_shape


class Pairs(NamedTuple):
    """Pairs of a true and a predicted nucleus, sorted by the true and then by the predicted one.

    Attributes:
        true: Row of the true nucleus in the table.
        predicted: Column of the predicted nucleus.
        shared_px: Number of pixels in both.
        iou: Intersection over union, above 0 and up to 1.
    """

    true: Int64[np.ndarray, " k"]
    predicted: Int64[np.ndarray, " k"]
    shared_px: Int64[np.ndarray, " k"]
    iou: Float64[np.ndarray, " k"]


@dataclass(frozen=True, eq=False)  # no slots: `iou` and `pairs` are cached
class Contingency:
    """Overlap of the true and the predicted nuclei of one tile.

    Attributes:
        overlap: Number of pixels that each true and each predicted nucleus share.
        true_area: Pixels of each true nucleus, at least 1; `predicted_area` likewise.
        true_labels: Ids of the true nuclei in ascending order, background excluded: the rows of `overlap`.
        predicted_labels: Ids of the predicted nuclei, likewise: the columns.
    """

    overlap: Int64[np.ndarray, "n_true n_predicted"]
    true_area: Int64[np.ndarray, " n_true"]
    predicted_area: Int64[np.ndarray, " n_predicted"]
    true_labels: Int64[np.ndarray, " n_true"]
    predicted_labels: Int64[np.ndarray, " n_predicted"]

    @cached_property
    def iou(self) -> Float64[np.ndarray, "n_true n_predicted"]:
        """Intersection over union of each pair, in 0..1."""
        union_px = self.true_area[:, None] + self.predicted_area[None, :] - self.overlap
        iou: Float64[np.ndarray, "n_true n_predicted"] = self.overlap / union_px
        return iou

    @cached_property
    def pairs(self) -> Pairs:
        """The pairs that share a pixel; there are about as many as nuclei."""
        shares = self.overlap > 0  # nonzero() is several times faster on booleans than on integers
        true, predicted = np.divmod(np.flatnonzero(shares), max(len(self.predicted_area), 1))
        shared_px = self.overlap[true, predicted]
        iou = shared_px / (self.true_area[true] + self.predicted_area[predicted] - shared_px)
        return Pairs(true, predicted, shared_px, iou)


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Two instance maps as runs: consecutive pixels of a row in which neither map changes.

    A tile has about ten times fewer runs than nuclear pixels, and all counts are sums over runs.

    Attributes:
        start: Row-major index of the first pixel.
        length_px: Number of pixels, as float64 (the type of the weights of `numpy.bincount`).
        width: Columns of the tile.
        true_number: Position of the true nucleus in `true_labels` plus one, 0 for background; `predicted_number` likewise.
        true_labels: Ids of the true nuclei, ascending; `predicted_labels` likewise.
    """

    start: Int64[np.ndarray, " r"]
    length_px: Float64[np.ndarray, " r"]
    width: int
    true_number: Int64[np.ndarray, " r"]
    predicted_number: Int64[np.ndarray, " r"]
    true_labels: Int64[np.ndarray, " n_true"]
    predicted_labels: Int64[np.ndarray, " n_predicted"]


def contingency(truth: InstanceMap, prediction: InstanceMap) -> Contingency:
    """Table of the pixels that each true and each predicted nucleus share.

    Raises:
        ContractError: The shapes differ, or one is not a map of non-negative integers.

    Examples:
        >>> table = contingency(np.array([[5, 5, 0]]), np.array([[0, 2, 2]]))
        >>> table.overlap.tolist(), table.true_labels.tolist(), table.predicted_labels.tolist()
        ([[1]], [5], [2])
        >>> float(table.iou[0, 0])
        0.3333333333333333
    """
    return contingency_of(overlay(truth, prediction))


def overlay(truth: InstanceMap, prediction: InstanceMap, *others: InstanceMap) -> Overlay:
    """Overlay both maps, with their nuclei renumbered.

    Args:
        others: Maps of the same shape that must not change within a run either, such as classes.

    Raises:
        ContractError: The shapes differ, or one is not a map of non-negative integers.
    """
    check_same_shape("truth and prediction", truth, prediction)
    check_instance_map("truth", truth)
    check_instance_map("prediction", prediction)
    start, length_px = _runs(truth, prediction, *others)
    true_ids, predicted_ids = truth.ravel()[start], prediction.ravel()[start]
    check_ids("truth", true_ids)
    check_ids("prediction", predicted_ids)
    true_labels, true_number = renumber(true_ids)
    predicted_labels, predicted_number = renumber(predicted_ids)
    return Overlay(start, length_px, truth.shape[1], true_number, predicted_number, true_labels, predicted_labels)


def contingency_of(laid: Overlay) -> Contingency:
    """Count an overlay: one bincount gives overlaps and areas, because its first row and column are background."""
    rows, columns = len(laid.true_labels) + 1, len(laid.predicted_labels) + 1
    pair = laid.true_number * columns + laid.predicted_number
    table = np.bincount(pair, laid.length_px, rows * columns).astype(np.int64).reshape(rows, columns)
    return Contingency(
        overlap=table[1:, 1:],
        true_area=table[1:].sum(axis=1),
        predicted_area=table[:, 1:].sum(axis=0),
        true_labels=laid.true_labels,
        predicted_labels=laid.predicted_labels,
    )


def centroids_of(
    laid: Overlay, table: Contingency
) -> tuple[Float64[np.ndarray, "n_true 2"], Float64[np.ndarray, "n_predicted 2"]]:
    """Mean (row, column) in pixels of the true and of the predicted nuclei, in the order of their labels."""
    row = laid.start // laid.width
    column = laid.start - row * laid.width
    rows = row * laid.length_px
    columns = (2 * column + laid.length_px - 1) * laid.length_px / 2  # sum over the run; the product is even
    true, predicted = (
        np.stack([np.bincount(number, terms, len(area_px) + 1)[1:] / area_px for terms in (rows, columns)], axis=1)
        for number, area_px in ((laid.true_number, table.true_area), (laid.predicted_number, table.predicted_area))
    )
    return true, predicted


def _runs(*maps: InstanceMap) -> tuple[Int64[np.ndarray, " r"], Float64[np.ndarray, " r"]]:
    """First pixel and length of every run of a row in which no map changes."""
    flat = [values.ravel() for values in maps]
    begins = np.ones(flat[0].size, bool)
    np.not_equal(flat[0][1:], flat[0][:-1], out=begins[1:])
    for values in flat[1:]:
        begins[1:] |= values[1:] != values[:-1]
    begins[:: max(maps[0].shape[1], 1)] = True
    start = np.flatnonzero(begins)
    length_px = np.empty(len(start))
    np.subtract(start[1:], start[:-1], out=length_px[:-1])
    length_px[-1:] = flat[0].size - start[-1:]
    return start, length_px
