"""Detection and typing of nuclei by their centroids, paired one to one within 12 px.

Pairs minimise the total distance (Hungarian method); those farther apart than the radius are dropped afterwards.
A pair counts as a detection whatever its classes. By class, as HoVer-Net and CellViT report it, a pair of wrong class
weighs twice a missed or a spurious nucleus:

    F_c = 2 TP_c / (2 TP_c + 2 FP_c + 2 FN_c + FP_d + FN_d)

with TP_c pairs where both sides are of class c, FP_c (FN_c) pairs where only the found (true) side is, FP_d (FN_d)
found (true) nuclei of class c without a partner; precision and recall drop the terms of the other error. The papers
write TP_c + TN_c for TP_c; in the authors' programs TN_c is 0, because pairs without class c are set aside first.

References:
    Graham et al., HoVer-Net, Medical Image Analysis 2019, and its evaluation program.
    Hörst et al., CellViT, Medical Image Analysis 2024, and its evaluation program.
"""

from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float64, Int64, Integer, Real
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from cellvit.errors import ContractError
from cellvit.metrics.instances import N_CLASSES, InstanceMap, centroids, check_same_shape, checked_classes
from cellvit.metrics.ratio import ratio
from cellvit.taxonomy import NucleusClass

RADIUS_PX: Final = 12.0
"""Farthest partner of a centroid: 3 um at 0.25 um per pixel (HoVer-Net's evaluation program)."""

UNPAIRED: Final = N_CLASSES
"""Row (column) of the table for found (true) nuclei that have no partner."""

MISTYPED: Final = 2
"""Weight of a pair of wrong class against a nucleus without a partner (HoVer-Net's evaluation program)."""

Number = TypeVar("Number")


class Scores(NamedTuple, Generic[Number]):
    """Precision, recall and F1 in 0..1; NaN where undefined (nothing found, nothing true, neither)."""

    precision: Number
    recall: Number
    f1: Number


@dataclass(frozen=True, slots=True, eq=False)
class DetectionCounts:
    """Nuclei by true and found class; counts add up over tiles.

    Attributes:
        table: ``table[t, f]`` pairs of true class t and found class f (0: no class), ``table[t, 6]`` true nuclei
            without a partner, ``table[6, f]`` found ones; ``table[6, 6]`` is 0.
    """

    table: Int64[np.ndarray, "7 7"]

    def __add__(self, other: "DetectionCounts") -> "DetectionCounts":
        return DetectionCounts(self.table + other.table)

    @classmethod
    def zero(cls) -> "DetectionCounts":
        """Counts of no tile, the start of a sum."""
        return cls(np.zeros((N_CLASSES + 1, N_CLASSES + 1), np.int64))

    @property
    def detection(self) -> Scores[float]:
        """Scores of all nuclei, whatever their class."""
        return Scores(*(float(score) for score in detection_scores(self.table)))

    def of_class(self, nucleus_class: int) -> Scores[float]:
        """Scores of one class, 1..5, by HoVer-Net's convention (see the module)."""
        return Scores(*(float(score) for score in class_scores(self.table, nucleus_class)))


def detection_counts(
    truth: InstanceMap,
    true_class_of: Integer[np.ndarray, " n"],
    found: InstanceMap,
    found_class_of: Integer[np.ndarray, " m"],
    *,
    radius_px: float = RADIUS_PX,
) -> DetectionCounts:
    """Detections of one tile; classes are one a nucleus, in the order of its labels (`TileScores` holds them).

    Raises:
        ContractError: Shapes differ, or the number of classes is not that of the nuclei.

    Examples:
        >>> truth, found = np.array([[1, 0, 2]]), np.array([[3, 0, 0]])
        >>> counts = detection_counts(truth, np.array([1, 2]), found, np.array([1]))
        >>> counts.detection
        Scores(precision=1.0, recall=0.5, f1=0.6666666666666666)
        >>> counts.of_class(2)
        Scores(precision=nan, recall=0.0, f1=0.0)
    """
    check_same_shape("truth and found", truth, found)
    true_at, found_at = centroids(truth), centroids(found)
    if (len(true_at), len(found_at)) != (len(true_class_of), len(found_class_of)):
        raise ContractError(
            f"detection: expected a class for each of {len(true_at)} true and {len(found_at)} found nuclei, "
            f"found {len(true_class_of)} and {len(found_class_of)}. Use cellvit.metrics.instances.majority_classes()."
        )
    return detection_counts_of(
        true_at, checked_classes(true_class_of), found_at, checked_classes(found_class_of), radius_px=radius_px
    )


def detection_counts_of(
    true_at: Float64[np.ndarray, "n 2"],
    true_class_of: Integer[np.ndarray, " n"],
    found_at: Float64[np.ndarray, "m 2"],
    found_class_of: Integer[np.ndarray, " m"],
    *,
    radius_px: float = RADIUS_PX,
) -> DetectionCounts:
    """`detection_counts` of nuclei whose centroids (row, column) are known, as `TileScores` holds them."""
    true_partner, found_partner = pair_centroids(true_at, found_at, radius_px=radius_px)
    return _counted(true_class_of, found_class_of, true_partner, found_partner)


def pair_centroids(
    truth: Float64[np.ndarray, "n 2"], found: Float64[np.ndarray, "m 2"], *, radius_px: float = RADIUS_PX
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Places of the k paired points in `truth` and in `found`.

    Examples:
        >>> pair_centroids(np.array([[0.0, 0.0], [0.0, 50.0]]), np.array([[0.0, 62.0], [0.0, 13.0]]))
        (array([1]), array([0]))
    """
    distance_px = cdist(truth, found)
    row, column = linear_sum_assignment(distance_px)
    near = distance_px[row, column] <= radius_px
    return row[near], column[near]


def detection_scores(tables: Real[np.ndarray, "*batch 7 7"]) -> Scores[Float64[np.ndarray, "*batch"]]:
    """Scores of all nuclei, for each table of counts."""
    paired = tables[..., :UNPAIRED, :UNPAIRED].sum(axis=(-2, -1))
    return _scores(paired, tables[..., UNPAIRED, :].sum(axis=-1), tables[..., :, UNPAIRED].sum(axis=-1))


def class_scores(tables: Real[np.ndarray, "*batch 7 7"], nucleus_class: int) -> Scores[Float64[np.ndarray, "*batch"]]:
    """Scores of one class, 1..5, for each table of counts.

    Raises:
        ContractError: The class is not one of 1..5.
    """
    if not NucleusClass.BACKGROUND < nucleus_class < N_CLASSES:
        raise ContractError(f"detection: expected a nuclear class in 1..{N_CLASSES - 1}, found {nucleus_class}.")
    right = tables[..., nucleus_class, nucleus_class]
    mistaken_for = tables[..., :UNPAIRED, nucleus_class].sum(axis=-1) - right
    mistaken = tables[..., nucleus_class, :UNPAIRED].sum(axis=-1) - right
    spurious, missed = tables[..., UNPAIRED, nucleus_class], tables[..., nucleus_class, UNPAIRED]
    return _scores(right, MISTYPED * mistaken_for + spurious, MISTYPED * mistaken + missed)


def _counted(
    true_class_of: Integer[np.ndarray, " n"],
    found_class_of: Integer[np.ndarray, " m"],
    true_partner: Int64[np.ndarray, " k"],
    found_partner: Int64[np.ndarray, " k"],
) -> DetectionCounts:
    missed, spurious = np.delete(true_class_of, true_partner), np.delete(found_class_of, found_partner)
    rows = np.concatenate([true_class_of[true_partner], missed, np.full(len(spurious), UNPAIRED)])
    columns = np.concatenate([found_class_of[found_partner], np.full(len(missed), UNPAIRED), spurious])
    side = UNPAIRED + 1
    return DetectionCounts(np.bincount(rows * side + columns, minlength=side**2).reshape(side, side))


def _scores(
    right: Real[np.ndarray, "*batch"], wrong: Real[np.ndarray, "*batch"], missed: Real[np.ndarray, "*batch"]
) -> Scores[Float64[np.ndarray, "*batch"]]:
    return Scores(
        precision=ratio(right, right + wrong),
        recall=ratio(right, right + missed),
        f1=ratio(2 * right, 2 * right + wrong + missed),
    )
