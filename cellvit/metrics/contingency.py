"""Pixels that true and found nuclei share: the table from which every overlap figure is computed."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cellvit.hover.renumber import renumber
from cellvit.metrics.instances import InstanceMap, check_ids, check_kind, check_same_shape


class Pairs(NamedTuple):
    """Pairs of a true and a found nucleus, by true nucleus and then by found one.

    Attributes:
        true: Place of the true nucleus in the table.
        found: Place of the found nucleus.
        shared_px: Pixels that both have.
        iou: Intersection over union, over 0 up to 1.
    """

    true: Int64[np.ndarray, " k"]
    found: Int64[np.ndarray, " k"]
    shared_px: Int64[np.ndarray, " k"]
    iou: Float64[np.ndarray, " k"]


@dataclass(frozen=True, eq=False)  # no slots: `iou` is kept
class Contingency:
    """Overlap of the true and the found nuclei of one tile.

    Attributes:
        overlap: Shared pixels of each true and each found nucleus.
        true_area: Pixels of each true nucleus, at least 1.
        found_area: Pixels of each found nucleus, at least 1.
        true_labels: Ids of the true nuclei, ascending, background excluded: the rows of `overlap`.
        found_labels: Ids of the found nuclei, likewise: the columns.
    """

    overlap: Int64[np.ndarray, "n_true n_found"]
    true_area: Int64[np.ndarray, " n_true"]
    found_area: Int64[np.ndarray, " n_found"]
    true_labels: Int64[np.ndarray, " n_true"]
    found_labels: Int64[np.ndarray, " n_found"]

    @cached_property
    def iou(self) -> Float64[np.ndarray, "n_true n_found"]:
        """Intersection over union of each pair, in 0..1."""
        union_px = self.true_area[:, None] + self.found_area[None, :] - self.overlap
        iou: Float64[np.ndarray, "n_true n_found"] = self.overlap / union_px
        return iou

    @cached_property
    def pairs(self) -> "Pairs":
        """The pairs that share a pixel; there are about as many as nuclei."""
        shares = self.overlap > 0  # nonzero() of truth values is several times faster than of numbers
        true, found = np.divmod(np.flatnonzero(shares), max(len(self.found_area), 1))
        shared_px = self.overlap[true, found]
        iou = shared_px / (self.true_area[true] + self.found_area[found] - shared_px)
        return Pairs(true, found, shared_px, iou)


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Two instance maps laid over one another, as stretches of pixels of a row on which none of them changes.

    A tile has a tenth as many stretches as nuclear pixels, and all counts are sums over them.

    Attributes:
        start: First pixel, counted row by row.
        length_px: Number of pixels, as the weights that numpy's bincount wants.
        width: Columns of the tile.
        true_place: The place of its true nucleus in `true_labels` plus one, 0 for background.
        found_place: Likewise for the found nucleus.
        true_labels: Ids of the true nuclei, ascending.
        found_labels: Ids of the found nuclei, ascending.
    """

    start: Int64[np.ndarray, " r"]
    length_px: Float64[np.ndarray, " r"]
    width: int
    true_place: Int64[np.ndarray, " r"]
    found_place: Int64[np.ndarray, " r"]
    true_labels: Int64[np.ndarray, " n_true"]
    found_labels: Int64[np.ndarray, " n_found"]


def contingency(truth: InstanceMap, found: InstanceMap) -> Contingency:
    """Table of the pixels that each true and each found nucleus share.

    Raises:
        ContractError: The shapes differ, or one is no map of non-negative integers.

    Examples:
        >>> table = contingency(np.array([[5, 5, 0]]), np.array([[0, 2, 2]]))
        >>> table.overlap.tolist(), table.true_labels.tolist(), table.found_labels.tolist()
        ([[1]], [5], [2])
        >>> float(table.iou[0, 0])
        0.3333333333333333
    """
    return contingency_of(overlay(truth, found))


def overlay(truth: InstanceMap, found: InstanceMap, *others: InstanceMap) -> Overlay:
    """Lay both maps over one another, with their nuclei renumbered.

    Args:
        others: Maps of the same shape that must not change along a stretch either, such as classes.

    Raises:
        ContractError: The shapes differ, or one is no map of non-negative integers.
    """
    check_same_shape("truth and found", truth, found)
    check_kind("truth", truth)
    check_kind("found", found)
    start, length_px = _stretches(truth, found, *others)
    true_ids, found_ids = truth.ravel()[start], found.ravel()[start]
    check_ids("truth", true_ids)
    check_ids("found", found_ids)
    true_labels, true_place = renumber(true_ids)
    found_labels, found_place = renumber(found_ids)
    return Overlay(start, length_px, truth.shape[1], true_place, found_place, true_labels, found_labels)


def contingency_of(laid: Overlay) -> Contingency:
    """Count an overlay: one bincount holds overlaps and areas, since its border row and column are background."""
    rows, columns = len(laid.true_labels) + 1, len(laid.found_labels) + 1
    pair = laid.true_place * columns + laid.found_place
    table = np.bincount(pair, laid.length_px, rows * columns).astype(np.int64).reshape(rows, columns)
    return Contingency(
        overlap=table[1:, 1:],
        true_area=table[1:].sum(axis=1),
        found_area=table[:, 1:].sum(axis=0),
        true_labels=laid.true_labels,
        found_labels=laid.found_labels,
    )


def centroids_of(
    laid: Overlay, table: Contingency
) -> tuple[Float64[np.ndarray, "n_true 2"], Float64[np.ndarray, "n_found 2"]]:
    """Mean (row, column) of the true and of the found nuclei in pixels, in the order of their labels."""
    row = laid.start // laid.width
    column = laid.start - row * laid.width
    rows = row * laid.length_px
    columns = (2 * column + laid.length_px - 1) * laid.length_px / 2  # sum over the stretch; the product is even
    return (
        _means(laid.true_place, rows, columns, table.true_area),
        _means(laid.found_place, rows, columns, table.found_area),
    )


def _means(
    place: Int64[np.ndarray, " r"],
    rows: Float64[np.ndarray, " r"],
    columns: Float64[np.ndarray, " r"],
    area_px: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n 2"]:
    means = np.empty((len(area_px), 2))
    for axis, terms in enumerate((rows, columns)):
        means[:, axis] = np.bincount(place, terms, len(area_px) + 1)[1:] / area_px
    return means


def _stretches(*maps: InstanceMap) -> tuple[Int64[np.ndarray, " s"], Float64[np.ndarray, " s"]]:
    """First pixel and length of every stretch of a row on which no map changes."""
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
