"""Pixels that true and found nuclei share: the table from which every overlap figure is computed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from cellvit.metrics.instances import InstanceMap, check_instance_map, check_same_shape, renumber


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


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """The pixels where at least one of two instance maps has a nucleus.

    Attributes:
        pixels: Where they lie in the tile, counted row by row.
        width: Columns of the tile.
        true_place: For each pixel, the place of its true nucleus in `true_labels` plus one, 0 for background.
        found_place: Likewise for the found nucleus.
        true_labels: Ids of the true nuclei, ascending.
        found_labels: Ids of the found nuclei, ascending.
        pair: Both places as one number, ``true_place * (n_found + 1) + found_place``.
    """

    pixels: Int64[np.ndarray, " p"]
    width: int
    true_place: Int64[np.ndarray, " p"]
    found_place: Int64[np.ndarray, " p"]
    true_labels: Int64[np.ndarray, " n_true"]
    found_labels: Int64[np.ndarray, " n_found"]
    pair: Int64[np.ndarray, " p"]

    @property
    def n_pairs(self) -> int:
        """Number of pairs that there can be, background among them."""
        return (len(self.true_labels) + 1) * (len(self.found_labels) + 1)


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


def overlay(truth: InstanceMap, found: InstanceMap) -> Overlay:
    """Nuclear pixels of both maps with their nuclei renumbered; background shared by both is left out.

    Raises:
        ContractError: The shapes differ, or one is no map of non-negative integers.
    """
    check_same_shape("truth and found", truth, found)
    check_instance_map("truth", truth)
    check_instance_map("found", found)
    pixels = np.flatnonzero((truth > 0) | (found > 0))
    true_labels, true_place = renumber(truth.ravel()[pixels])
    found_labels, found_place = renumber(found.ravel()[pixels])
    pair = true_place * (len(found_labels) + 1) + found_place
    return Overlay(pixels, truth.shape[1], true_place, found_place, true_labels, found_labels, pair)


def contingency_of(pixels: Overlay) -> Contingency:
    """Count an overlay: one bincount holds overlaps and areas, since its border row and column are background."""
    table = np.bincount(pixels.pair, minlength=pixels.n_pairs).reshape(-1, len(pixels.found_labels) + 1)
    return Contingency(
        overlap=table[1:, 1:],
        true_area=table[1:].sum(axis=1),
        found_area=table[:, 1:].sum(axis=0),
        true_labels=pixels.true_labels,
        found_labels=pixels.found_labels,
    )


def centroids_of(
    pixels: Overlay, table: Contingency
) -> tuple[Float64[np.ndarray, "n_true 2"], Float64[np.ndarray, "n_found 2"]]:
    """Mean (row, column) of the true and of the found nuclei in pixels, in the order of their labels."""
    row = pixels.pixels // pixels.width
    column = pixels.pixels - row * pixels.width
    sums = np.stack([np.bincount(pixels.pair, at, pixels.n_pairs) for at in (row, column)], axis=1)
    sums = sums.reshape(len(table.true_area) + 1, len(table.found_area) + 1, 2)
    return sums[1:].sum(axis=1) / table.true_area[:, None], sums[:, 1:].sum(axis=0) / table.found_area[:, None]
