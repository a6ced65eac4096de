"""Overlap of true and found nuclei on one tile: Dice, AJI, AJI+ and panoptic quality.

Every figure is NaN where neither side has a nucleus and 0 where one side alone has some. Each comes in two forms:
of two instance maps, and (`*_of`) of their contingency table, so that several figures share one pass over the pixels.

References:
    Kumar et al., A dataset and a technique for generalized nuclear segmentation for computational pathology,
    IEEE TMI 2017 (AJI).
    Graham et al., HoVer-Net, Medical Image Analysis 2019 (PQ for nuclei; AJI+ in its authors' evaluation program).
    Kirillov et al., Panoptic segmentation, CVPR 2019.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import linear_sum_assignment

from cellvit.metrics.contingency import Contingency, Pairs, contingency
from cellvit.metrics.instances import InstanceMap
from cellvit.metrics.ratio import ratio

MATCH_IOU: Final = 0.5
"""A pair matches above this IoU, strictly; then no nucleus can match twice (Kirillov et al. 2019, section 4.1)."""


@dataclass(frozen=True, slots=True)
class PanopticCounts:
    """Sums that add up over tiles; quality is a property of the total, not of the parts.

    Attributes:
        true_positives: Matched pairs.
        false_positives: Found nuclei without a match.
        false_negatives: True nuclei without a match.
        matched_iou: Sum of the IoU of the matched pairs.

    Examples:
        >>> PanopticCounts(1, 1, 0, 0.9).pq
        0.6
        >>> PanopticCounts(1, 1, 0, 0.9) + PanopticCounts(1, 0, 1, 0.5)
        PanopticCounts(true_positives=2, false_positives=1, false_negatives=1, matched_iou=1.4)
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    matched_iou: float = 0.0

    def __add__(self, other: "PanopticCounts") -> "PanopticCounts":
        return PanopticCounts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.matched_iou + other.matched_iou,
        )

    @property
    def n_true(self) -> int:
        """Nuclei of the truth."""
        return self.true_positives + self.false_negatives

    @property
    def dq(self) -> float:
        """Detection quality TP / (TP + FP/2 + FN/2) in 0..1; NaN where neither side has a nucleus."""
        weight = self.true_positives + (self.false_positives + self.false_negatives) / 2
        return self.true_positives / weight if weight else float("nan")

    @property
    def sq(self) -> float:
        """Segmentation quality, the mean IoU of matched pairs, in (0.5, 1]; NaN where none matches."""
        return self.matched_iou / self.true_positives if self.true_positives else float("nan")

    @property
    def pq(self) -> float:
        """Panoptic quality DQ * SQ in 0..1; NaN where neither side has a nucleus, 0 where none matches."""
        weight = self.true_positives + (self.false_positives + self.false_negatives) / 2
        return self.matched_iou / weight if weight else float("nan")


def as_rows(counts: Iterable[PanopticCounts]) -> Float64[np.ndarray, "n 4"]:
    """Counts as rows (TP, FP, FN, sum of IoU), to be summed or resampled."""
    rows = [(c.true_positives, c.false_positives, c.false_negatives, c.matched_iou) for c in counts]
    return np.array(rows, np.float64).reshape(-1, 4)


def panoptic_quality_of_sums(sums: Float64[np.ndarray, "*batch 4"]) -> Float64[np.ndarray, "*batch"]:
    """PQ of summed rows (TP, FP, FN, sum of IoU); NaN where neither side has a nucleus.

    Examples:
        >>> panoptic_quality_of_sums(np.array([[1, 1, 0, 0.9], [0, 0, 0, 0]]))
        array([0.6, nan])
    """
    return ratio(sums[..., 3], sums[..., 0] + (sums[..., 1] + sums[..., 2]) / 2)


def dice(truth: InstanceMap, found: InstanceMap) -> float:
    """Dice of nuclear pixels against background, in 0..1; which nucleus a pixel belongs to does not count.

    Examples:
        >>> dice(np.array([[1, 1, 0]]), np.array([[0, 7, 8]]))
        0.5
    """
    return dice_of(contingency(truth, found))


def dice_of(table: Contingency) -> float:
    """`dice` of a contingency table."""
    return float(ratio(2 * table.overlap.sum(), table.true_area.sum() + table.found_area.sum()))


def aji(truth: InstanceMap, found: InstanceMap) -> float:
    """Aggregated Jaccard index (Kumar et al. 2017), in 0..1.

    Each true nucleus takes the found nucleus of greatest IoU (the smallest label of several), which may serve several
    true ones; true nuclei without overlap and found nuclei that serve none add their area to the union.

    Examples:
        >>> aji(np.array([[1, 1, 2, 2]]), np.array([[3, 3, 3, 3]]))  # one blob serves both: 4 of 8 pixels
        0.5
    """
    return aji_of(contingency(truth, found))


def aji_of(table: Contingency) -> float:
    """`aji` of a contingency table."""
    if not table.overlap.size:
        return _one_side_empty(table)
    pairs = table.pairs
    best = _best_of_each_true(pairs, len(table.true_area))
    shared = pairs.shared_px[best].sum()
    taken = pairs.found[best]
    unused = np.ones(len(table.found_area), bool)
    unused[taken] = False
    areas = table.true_area.sum() + table.found_area[taken].sum() + table.found_area[unused].sum()
    return float(shared / (areas - shared))


def aji_plus(truth: InstanceMap, found: InstanceMap) -> float:
    """AJI with one-to-one pairs, in 0..1: the assignment of maximal total IoU, the rest added to the union.

    Examples:
        >>> aji_plus(np.array([[1, 1, 2, 2]]), np.array([[3, 3, 3, 3]]))  # the blob serves one: 2 of 6 pixels
        0.3333333333333333
    """
    return aji_plus_of(contingency(truth, found))


def aji_plus_of(table: Contingency) -> float:
    """`aji_plus` of a contingency table."""
    if not table.overlap.size:
        return _one_side_empty(table)
    pairs = table.pairs
    alone = (np.bincount(pairs.true)[pairs.true] == 1) & (np.bincount(pairs.found)[pairs.found] == 1)
    shared = pairs.shared_px[alone].sum()
    if not alone.all():
        contested = np.ix_(np.unique(pairs.true[~alone]), np.unique(pairs.found[~alone]))
        shared += table.overlap[contested][linear_sum_assignment(table.iou[contested], maximize=True)].sum()
    # Pairs that share nothing join two full areas to the union, as two unpaired nuclei do.
    return float(shared / (table.true_area.sum() + table.found_area.sum() - shared))


def panoptic_quality(truth: InstanceMap, found: InstanceMap) -> PanopticCounts:
    """Counts of nuclei matched at IoU > 0.5, with `.dq`, `.sq` and `.pq`.

    Examples:
        >>> counts = panoptic_quality(np.array([[1, 1, 1, 0, 2]]), np.array([[4, 4, 4, 4, 0]]))
        >>> counts.dq, counts.sq, counts.pq
        (0.6666666666666666, 0.75, 0.5)
    """
    return panoptic_of(contingency(truth, found))


def panoptic_of(table: Contingency) -> PanopticCounts:
    """`panoptic_quality` of a contingency table."""
    iou = table.pairs.iou
    matched = iou[iou > MATCH_IOU]
    return PanopticCounts(
        true_positives=len(matched),
        false_positives=len(table.found_area) - len(matched),
        false_negatives=len(table.true_area) - len(matched),
        matched_iou=float(matched.sum()),
    )


def _best_of_each_true(pairs: Pairs, n_true: int) -> Int64[np.ndarray, " t"]:
    """For each true nucleus with overlap its pair of greatest IoU, the first of equal ones."""
    greatest = np.zeros(n_true)
    np.maximum.at(greatest, pairs.true, pairs.iou)
    best = np.flatnonzero(pairs.iou == greatest[pairs.true])
    first = np.ones(len(best), bool)
    np.not_equal(pairs.true[best[1:]], pairs.true[best[:-1]], out=first[1:])
    return best[first]


def _one_side_empty(table: Contingency) -> float:
    return 0.0 if len(table.true_area) or len(table.found_area) else float("nan")
