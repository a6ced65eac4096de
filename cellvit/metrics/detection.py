"""Detection and classification of nuclei by their centroids, paired one to one within 3 um.

As published, pairs minimise the total distance over all nuclei (Hungarian method), and pairs farther apart than the radius
are dropped afterwards. That loses true pairs: the assignment may give two nuclei partners beyond the radius for the sake of
a smaller total. `pair_within` excludes these distances first: it finds as many pairs within the radius as possible, and
among these the ones of least total distance.
A pair counts as a detection whatever its classes. By class, as in HoVer-Net and CellViT, a pair of different classes
has twice the weight of an unpaired nucleus:

    F_c = 2 TP_c / (2 TP_c + 2 FP_c + 2 FN_c + FP_d + FN_d)

with TP_c pairs in which both nuclei are of class c, FP_c (FN_c) pairs in which only the predicted (true) nucleus is,
and FP_d (FN_d) unpaired predicted (true) nuclei of class c. Precision and recall omit the terms of the other error.
The papers write TP_c + TN_c in place of TP_c; in the authors' programs TN_c is 0, because they first set aside the
pairs without class c.

References:
    Graham et al., HoVer-Net, Medical Image Analysis 2019, and its evaluation program.
    Hörst et al., CellViT, Medical Image Analysis 2024, and its evaluation program.
"""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer, Real
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from cellvit.errors import ContractError
from cellvit.metrics.instances import PANNUKE_CLASSES
from cellvit.metrics.ratio import ratio
from cellvit.taxonomy import TILE_MPP

RADIUS_UM: Final = 3.0
"""Largest distance of a pair of centroids (HoVer-Net's evaluation program: 12 px of 0.25 um)."""

RADIUS_PX: Final = RADIUS_UM / TILE_MPP
"""The same in pixels of PanNuke, where no resolution is given."""

UNPAIRED: Final = -1
"""Row (column) of the table for unpaired predicted (true) nuclei: the last one."""

MISTYPED: Final = 2
"""Weight of a pair of different classes, relative to an unpaired nucleus (HoVer-Net's evaluation program)."""


class CentroidPairs(NamedTuple):
    """Nuclei that are paired, one entry per pair.

    Attributes:
        true: Index of the true nucleus; `predicted` likewise.
    """

    true: Int64[np.ndarray, " k"]
    predicted: Int64[np.ndarray, " k"]


class Scores(NamedTuple):
    """Precision, recall and F1 in 0..1; NaN where undefined (nothing predicted, nothing true, neither)."""

    precision: Float64[np.ndarray, "*batch"]
    recall: Float64[np.ndarray, "*batch"]
    f1: Float64[np.ndarray, "*batch"]


def detection_counts(
    true_at: Float64[np.ndarray, "n 2"],
    true_class_of: Integer[np.ndarray, " n"],
    predicted_at: Float64[np.ndarray, "m 2"],
    predicted_class_of: Integer[np.ndarray, " m"],
    *,
    n_classes: int = PANNUKE_CLASSES,
    radius_px: float = RADIUS_PX,
) -> Int64[np.ndarray, "s s"]:
    """Nuclei of one tile by true and predicted class, paired as published; the tables of several tiles can be added.

    Args:
        true_at: Centroid (row, column) of each true nucleus in pixels, as in `cellvit.metrics.pannuke.TileScores`.
        true_class_of: Class of each true nucleus, 0 to `n_classes`; 0 means no class.
        predicted_at, predicted_class_of: The same of the predicted nuclei.

    Returns:
        The table of `pair_table`.

    Raises:
        ContractError: The number of classes is not the number of centroids.

    Examples:
        >>> at = np.array([[0.0, 0.0], [0.0, 50.0]])
        >>> table = detection_counts(at, np.array([1, 2]), at[:1], np.array([1]))
        >>> [float(score) for score in detection_scores(table)]
        [1.0, 0.5, 0.6666666666666666]
        >>> [float(score) for score in class_scores(table, 2)]
        [nan, 0.0, 0.0]
    """
    if (len(true_at), len(predicted_at)) != (len(true_class_of), len(predicted_class_of)):
        raise ContractError(
            f"detection: expected a class for each of {len(true_at)} true and {len(predicted_at)} predicted nuclei, "
            f"found {len(true_class_of)} and {len(predicted_class_of)}. Pass the fields of one TileScores."
        )
    pairs = pair_centroids(true_at, predicted_at, radius_px=radius_px)
    return pair_table(true_class_of, predicted_class_of, pairs, n_classes=n_classes)


def pair_table(
    true_class_of: Integer[np.ndarray, " n"],
    predicted_class_of: Integer[np.ndarray, " m"],
    pairs: CentroidPairs,
    *,
    n_classes: int = PANNUKE_CLASSES,
) -> Int64[np.ndarray, "s s"]:
    """Nuclei of one tile by true and predicted class; the side of the table is the number of nuclear classes plus two.

    ``table[t, p]`` is the number of pairs of true class t and predicted class p (0: without a class), ``table[t, -1]`` the
    number of unpaired true nuclei (missed), ``table[-1, p]`` of unpaired predicted nuclei (false); ``table[-1, -1]`` is 0.
    """
    unpaired = n_classes + 1
    missed, spurious = np.delete(true_class_of, pairs.true), np.delete(predicted_class_of, pairs.predicted)
    rows = np.concatenate([true_class_of[pairs.true], missed, np.full(len(spurious), unpaired)])
    columns = np.concatenate([predicted_class_of[pairs.predicted], np.full(len(missed), unpaired), spurious])
    side = unpaired + 1
    return np.bincount(rows * side + columns, minlength=side**2).reshape(side, side)


def pair_centroids(
    truth: Float64[np.ndarray, "n 2"], prediction: Float64[np.ndarray, "m 2"], *, radius_px: float = RADIUS_PX
) -> CentroidPairs:
    """Pairs of least total distance over all points, without those beyond the radius: the published pairing.

    Examples:
        >>> pair_centroids(np.array([[0.0, 0.0], [0.0, 50.0]]), np.array([[0.0, 62.0], [0.0, 13.0]]))
        CentroidPairs(true=array([1]), predicted=array([0]))
    """
    distance_px = cdist(truth, prediction)
    row, column = linear_sum_assignment(distance_px)
    near = distance_px[row, column] <= radius_px
    return CentroidPairs(row[near], column[near])


def pair_within(
    truth: Float64[np.ndarray, "n 2"], prediction: Float64[np.ndarray, "m 2"], *, radius_px: float = RADIUS_PX
) -> CentroidPairs:
    """Pairs of points, with the distances beyond the radius excluded before the assignment.

    Examples:
        >>> true, predicted = np.array([[0.0, 0.0], [0.0, 13.0]]), np.array([[0.0, 12.5], [0.0, 25.5]])
        >>> pair_within(true, predicted)
        CentroidPairs(true=array([1]), predicted=array([0]))
        >>> len(pair_centroids(true, predicted).true)  # a total of 12.5 + 12.5 px is less than 0.5 + 25.5 px
        0
    """
    distance_px = cdist(truth, prediction)
    near = distance_px <= radius_px
    # A point and its only neighbour, if that has no other one either, are a pair; only the rest has to be assigned.
    n_of_true, n_of_predicted = near.sum(axis=1), near.sum(axis=0)
    row, column = np.nonzero(near)
    alone = (n_of_true[row] == 1) & (n_of_predicted[column] == 1)
    contested = np.unique(row[~alone]), np.unique(column[~alone])
    if not len(contested[0]):
        return CentroidPairs(row, column)
    # A pair beyond the radius costs more than all pairs within it together, so that there are as few as possible.
    cost = np.where(near, distance_px, radius_px * (min(distance_px.shape) + 1))[np.ix_(*contested)]
    rest = linear_sum_assignment(cost)
    kept = near[contested[0][rest[0]], contested[1][rest[1]]]
    rows = np.concatenate([row[alone], contested[0][rest[0][kept]]])
    columns = np.concatenate([column[alone], contested[1][rest[1][kept]]])
    order = np.argsort(rows)
    return CentroidPairs(rows[order], columns[order])


def detection_scores(tables: Real[np.ndarray, "*batch s s"]) -> Scores:
    """Scores of all nuclei whatever their class, for each table of counts."""
    paired = tables[..., :UNPAIRED, :UNPAIRED].sum(axis=(-2, -1))
    return _scores(paired, tables[..., UNPAIRED, :].sum(axis=-1), tables[..., :, UNPAIRED].sum(axis=-1))


def class_scores(tables: Real[np.ndarray, "*batch s s"], nucleus_class: int) -> Scores:
    """Scores of one nuclear class, for each table of counts (convention of HoVer-Net, see the module).

    Raises:
        ContractError: The table has no such class.
    """
    n_classes = tables.shape[-1] - 2
    if not 0 < nucleus_class <= n_classes:
        raise ContractError(f"detection: expected a nuclear class in 1..{n_classes}, found {nucleus_class}.")
    right = tables[..., nucleus_class, nucleus_class]
    mistaken_for = tables[..., :UNPAIRED, nucleus_class].sum(axis=-1) - right
    mistaken = tables[..., nucleus_class, :UNPAIRED].sum(axis=-1) - right
    spurious, missed = tables[..., UNPAIRED, nucleus_class], tables[..., nucleus_class, UNPAIRED]
    return _scores(right, MISTYPED * mistaken_for + spurious, MISTYPED * mistaken + missed)


def _scores(
    right: Real[np.ndarray, "*batch"], wrong: Real[np.ndarray, "*batch"], missed: Real[np.ndarray, "*batch"]
) -> Scores:
    return Scores(
        precision=ratio(right, right + wrong),
        recall=ratio(right, right + missed),
        f1=ratio(2 * right, 2 * right + wrong + missed),
    )
