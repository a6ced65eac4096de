"""Overlap of true and predicted nuclei on one tile: Dice, AJI, AJI+ and panoptic quality.

Every metric is NaN if neither side has a nucleus and 0 if only one side has nuclei. Each metric has two forms: of two
instance maps, and (`*_of`) of their contingency table, so that several metrics share one pass over the pixels.

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
"""A pair matches strictly above this IoU; then no nucleus can match twice (Kirillov et al. 2019, section 4.1)."""


@dataclass(frozen=True, slots=True)
class PanopticCounts:
    """Counts of one tile or, summed as rows (`as_rows`), of several; qualities are computed from the sums.

    Attributes:
        true_positives: Matched pairs.
        false_positives: Predicted nuclei without a match.
        false_negatives: True nuclei without a match.
        matched_iou: Sum of the IoU of the matched pairs.

    Examples:
        >>> PanopticCounts(1, 1, 0, 0.9).pq
        0.6
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    matched_iou: float

    @property
    def n_true(self) -> int:
        """Number of true nuclei."""
        return self.true_positives + self.false_negatives

    @property
    def dq(self) -> float:
        """Detection quality TP / (TP + FP/2 + FN/2) in 0..1; NaN if neither side has a nucleus."""
        weight = self.true_positives + (self.false_positives + self.false_negatives) / 2
        return self.true_positives / weight if weight else float("nan")

    @property
    def sq(self) -> float:
        """Segmentation quality, the mean IoU of the matched pairs, in (0.5, 1]; NaN if none matches."""
        return self.matched_iou / self.true_positives if self.true_positives else float("nan")

    @property
    def pq(self) -> float:
        """Panoptic quality DQ * SQ in 0..1; NaN if neither side has a nucleus, 0 if none matches."""
        weight = self.true_positives + (self.false_positives + self.false_negatives) / 2
        return self.matched_iou / weight if weight else float("nan")


def as_rows(counts: Iterable[PanopticCounts]) -> Float64[np.ndarray, "n 4"]:
    """Counts as rows (TP, FP, FN, sum of IoU), to be summed over tiles or resampled."""
    rows = [(c.true_positives, c.false_positives, c.false_negatives, c.matched_iou) for c in counts]
    return np.array(rows, np.float64).reshape(-1, 4)


def panoptic_quality_of_sums(sums: Float64[np.ndarray, "*batch 4"]) -> Float64[np.ndarray, "*batch"]:
    """PQ of summed rows (TP, FP, FN, sum of IoU); NaN if neither side has a nucleus.

    Examples:
        >>> panoptic_quality_of_sums(np.array([[1, 1, 0, 0.9], [0, 0, 0, 0]]))
        array([0.6, nan])
    """
    return ratio(sums[..., 3], sums[..., 0] + (sums[..., 1] + sums[..., 2]) / 2)


def dice(truth: InstanceMap, prediction: InstanceMap) -> float:
    """Dice of nuclear pixels against background, in 0..1; separation of nuclei does not matter.

    Examples:
        >>> dice(np.array([[1, 1, 0]]), np.array([[0, 7, 8]]))
        0.5
    """
    return dice_of(contingency(truth, prediction))


def dice_of(table: Contingency) -> float:
    """`dice` of a contingency table."""
    return float(ratio(2 * table.overlap.sum(), table.true_area.sum() + table.predicted_area.sum()))


def aji(truth: InstanceMap, prediction: InstanceMap) -> float:
    """Aggregated Jaccard index (Kumar et al. 2017), in 0..1.

    Each true nucleus is paired with the predicted nucleus of greatest IoU (the smallest label in a tie), which may be
    paired several times. True nuclei without overlap and unpaired predicted nuclei add their area to the union.

    Examples:
        >>> aji(np.array([[1, 1, 2, 2]]), np.array([[3, 3, 3, 3]]))  # one blob is paired twice: 4 of 8 pixels
        0.5
    """
    return aji_of(contingency(truth, prediction))


def aji_of(table: Contingency) -> float:
    """`aji` of a contingency table."""
    if not table.overlap.size:
        return _one_side_empty(table)
    pairs = table.pairs
    best = _best_of_each_true(pairs, len(table.true_area))
    shared = pairs.shared_px[best].sum()
    paired = pairs.predicted[best]
    unpaired = np.ones(len(table.predicted_area), bool)
    unpaired[paired] = False
    # Sum of |A| + |B| - |A and B| over the pairs, plus the areas of the nuclei without a pair.
    areas = table.true_area.sum() + table.predicted_area[paired].sum() + table.predicted_area[unpaired].sum()
    return float(shared / (areas - shared))


def aji_plus(truth: InstanceMap, prediction: InstanceMap) -> float:
    """AJI with one-to-one pairs, in 0..1: the assignment of maximal total IoU; the other nuclei add to the union.

    Examples:
        >>> aji_plus(np.array([[1, 1, 2, 2]]), np.array([[3, 3, 3, 3]]))  # the blob is paired once: 2 of 6 pixels
        0.3333333333333333
    """
    return aji_plus_of(contingency(truth, prediction))


def aji_plus_of(table: Contingency) -> float:
    """`aji_plus` of a contingency table."""
    if not table.overlap.size:
        return _one_side_empty(table)
    # A pair of nuclei that overlap no others is in every best assignment; only the rest has to be solved.
    pairs = table.pairs
    alone = (np.bincount(pairs.true)[pairs.true] == 1) & (np.bincount(pairs.predicted)[pairs.predicted] == 1)
    shared = pairs.shared_px[alone].sum()
    if not alone.all():
        contested = np.ix_(np.unique(pairs.true[~alone]), np.unique(pairs.predicted[~alone]))
        shared += table.overlap[contested][linear_sum_assignment(table.iou[contested], maximize=True)].sum()
    # Assigned pairs that share nothing add both areas to the union, like two unpaired nuclei.
    return float(shared / (table.true_area.sum() + table.predicted_area.sum() - shared))


def panoptic_quality(truth: InstanceMap, prediction: InstanceMap) -> PanopticCounts:
    """Counts of nuclei matched at IoU > 0.5, with `.dq`, `.sq` and `.pq`.

    Examples:
        >>> counts = panoptic_quality(np.array([[1, 1, 1, 0, 2]]), np.array([[4, 4, 4, 4, 0]]))
        >>> counts.dq, counts.sq, counts.pq
        (0.6666666666666666, 0.75, 0.5)
    """
    return panoptic_of(contingency(truth, prediction))


def panoptic_of(table: Contingency) -> PanopticCounts:
    """`panoptic_quality` of a contingency table."""
    iou = table.pairs.iou
    matched = iou[iou > MATCH_IOU]
    return PanopticCounts(
        true_positives=len(matched),
        false_positives=len(table.predicted_area) - len(matched),
        false_negatives=len(table.true_area) - len(matched),
        matched_iou=float(matched.sum()),
    )


def _best_of_each_true(pairs: Pairs, n_true: int) -> Int64[np.ndarray, " t"]:
    """For each true nucleus with overlap its pair of greatest IoU, the first one in a tie."""
    greatest = np.zeros(n_true)
    np.maximum.at(greatest, pairs.true, pairs.iou)
    best = np.flatnonzero(pairs.iou == greatest[pairs.true])
    first = np.ones(len(best), bool)
    np.not_equal(pairs.true[best[1:]], pairs.true[best[:-1]], out=first[1:])
    return best[first]


def _one_side_empty(table: Contingency) -> float:
    return 0.0 if len(table.true_area) or len(table.predicted_area) else float("nan")
