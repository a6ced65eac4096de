"""PanNuke's protocol: bPQ and class PQs of a tile, means over organs, and the variants that papers report.

bPQ and mPQ as published are means over tiles, then over organs; mPQ+ pools the counts of all tiles first. The
published program differs in two ways that do not change the third decimal: it adds 1e-6 to the denominator of SQ, and
it takes the nuclei of a class from the mask channel of the class. Here, the painted map (pixels in several channels
belong to the last one) is used for the class PQs as for bPQ.

References:
    Gamper et al., PanNuke dataset extension, insights and baselines, arXiv 2003.10778 (2020).
    Graham et al., CoNIC challenge, Medical Image Analysis 2024 (mPQ+).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped

from cellvit.metrics.contingency import Contingency, Overlay, centroids_of, contingency_of, overlay
from cellvit.metrics.instances import PANNUKE_CLASSES, InstanceMap, check_same_shape, checked_classes, vote
from cellvit.metrics.overlap import MATCH_IOU, PanopticCounts, panoptic_of, panoptic_quality_of_sums
from cellvit.metrics.ratio import mean_defined, ratio


@dataclass(frozen=True, eq=False)  # no slots: `centroids` is cached
class TileScores:
    """Panoptic quality of one tile, all nuclei together and class by class.

    Attributes:
        table: Overlaps from which everything else is computed, also AJI, AJI+ and Dice (`cellvit.metrics.overlap`).
        true_class_of: Class of each true nucleus, in the order of `table.true_labels`; `predicted_class_of` likewise.
        laid: Overlay of both maps.
        binary: Counts of all nuclei whatever their class.
        counts: Counts of the classes, from class 1 on; a pair matches only within a class. Their sums over tiles give mPQ+.
    """

    table: Contingency
    true_class_of: Int64[np.ndarray, " n_true"]
    predicted_class_of: Int64[np.ndarray, " n_predicted"]
    laid: Overlay
    binary: PanopticCounts
    counts: tuple[PanopticCounts, ...]

    @cached_property
    def centroids(self) -> tuple[Float64[np.ndarray, "n_true 2"], Float64[np.ndarray, "n_predicted 2"]]:
        """Mean (row, column) in pixels of the true and of the predicted nuclei, in the order of `table`."""
        return centroids_of(self.laid, self.table)

    @property
    def bpq(self) -> float:
        """Binary PQ; NaN if the tile has no true nucleus (predicted ones do not count then)."""
        return self.binary.pq if self.binary.n_true else float("nan")

    @property
    def pq(self) -> Float64[np.ndarray, " c"]:
        """PQ of the classes, from class 1 on; NaN if the tile has no true nucleus of a class (predicted ones do not count then)."""
        return np.array([c.pq if c.n_true else np.nan for c in self.counts])

    @property
    def mpq(self) -> float:
        """Mean of the defined class PQs; NaN if no true nucleus has a class."""
        return mean_defined(self.pq)

    @property
    def mpq_strict(self) -> float:
        """Mean over all classes on either side: a class that is predicted but absent from the ground truth scores 0."""
        return mean_defined(np.array([c.pq for c in self.counts]))


def tile_scores(
    truth: InstanceMap,
    truth_classes: InstanceMap,
    prediction: InstanceMap,
    predicted_classes: InstanceMap,
    *,
    n_classes: int = PANNUKE_CLASSES,
) -> TileScores:
    """Scores of one tile by PanNuke's protocol, from one contingency table.

    The class of a nucleus is the most frequent nuclear class of its pixels, the smaller number in a tie; a
    nucleus whose pixels are all of class 0 counts in bPQ but in no class.

    Args:
        truth, prediction: Instance ids; 0 is background.
        truth_classes, predicted_classes: Class of each pixel, 0 to `n_classes`; classes outside nuclei are ignored.
        n_classes: Nuclear classes of the data set.

    Raises:
        ContractError: Shapes differ, ids are negative or not integers, or classes are outside 0..n_classes.

    Examples:
        >>> instances, classes = np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 3]])
        >>> scores = tile_scores(instances, classes, instances, np.array([[1, 1, 0, 2]]))
        >>> scores.bpq, scores.pq.tolist()
        (1.0, [1.0, nan, 0.0, nan, nan])
        >>> scores.mpq, round(scores.mpq_strict, 4)
        (0.5, 0.3333)
    """
    check_same_shape("truth and its classes", truth, truth_classes)
    check_same_shape("prediction and its classes", prediction, predicted_classes)
    laid = overlay(truth, prediction, truth_classes, predicted_classes)
    table = contingency_of(laid)
    true_class_of = _class_of(laid, laid.true_number, truth_classes, n_classes)
    predicted_class_of = _class_of(laid, laid.predicted_number, predicted_classes, n_classes)
    return TileScores(
        table=table,
        true_class_of=true_class_of,
        predicted_class_of=predicted_class_of,
        laid=laid,
        binary=panoptic_of(table),
        counts=_class_counts(table, true_class_of, predicted_class_of, n_classes),
    )


def _class_counts(
    table: Contingency,
    true_class_of: Int64[np.ndarray, " n_true"],
    predicted_class_of: Int64[np.ndarray, " n_predicted"],
    n_classes: int,
) -> tuple[PanopticCounts, ...]:
    """Panoptic counts of the classes, from class 1 on: pairs of one class with IoU > 0.5."""
    pairs = table.pairs
    classes = true_class_of[pairs.true]
    match = np.flatnonzero((pairs.iou > MATCH_IOU) & (classes == predicted_class_of[pairs.predicted]))
    side = n_classes + 1
    matched = np.bincount(classes[match], minlength=side)
    matched_iou = np.bincount(classes[match], pairs.iou[match], minlength=side)
    n_true = np.bincount(true_class_of, minlength=side)
    n_predicted = np.bincount(predicted_class_of, minlength=side)
    columns = zip(matched, n_predicted - matched, n_true - matched, matched_iou, strict=True)
    return tuple(PanopticCounts(int(tp), int(fp), int(fn), float(total)) for tp, fp, fn, total in columns)[1:]


def mean_over_organs(values: Float[np.ndarray, " n"], organs: Shaped[np.ndarray, " n"]) -> float:
    """Mean over organs of the mean over the tiles of an organ: bPQ or mPQ as published.

    Tiles of NaN are left out, and so are organs without a defined tile.

    Examples:
        >>> mean_over_organs(np.array([0.25, 0.75, 1.0, np.nan]), np.array(["Colon", "Colon", "Liver", "Liver"]))
        0.75
    """
    return mean_defined(np.array([mean_defined(values[organs == organ]) for organ in np.unique(organs)]))


def pooled_mpq_of_sums(sums: Float64[np.ndarray, "*batch c 4"]) -> Float64[np.ndarray, "*batch"]:
    """mPQ+ (CoNIC): PQ of the counts of each class summed over tiles, then the mean over the classes.

    Classes without any true or predicted nucleus are left out; NaN if there is none.

    Args:
        sums: Rows of `cellvit.metrics.overlap.as_rows` of each class, summed over tiles.

    Examples:
        >>> pooled_mpq_of_sums(np.array([[2, 0, 0, 1.4], [0, 0, 0, 0]]))
        array(0.7)
    """
    quality = panoptic_quality_of_sums(sums)
    defined: Bool[np.ndarray, "*batch c"] = ~np.isnan(quality)
    total = np.where(defined, quality, 0).sum(axis=-1)
    return ratio(total, defined.sum(axis=-1))


def _class_of(
    laid: Overlay, number: Int64[np.ndarray, " r"], classes: InstanceMap, n_classes: int
) -> Int64[np.ndarray, " n"]:
    class_of_run = classes.ravel()[laid.start]
    class_of_run[number == 0] = 0  # classes outside the nuclei are ignored
    checked, n_nuclei = checked_classes(class_of_run, n_classes), int(number.max(initial=0))
    return vote(number, checked, laid.length_px, n_nuclei=n_nuclei, n_classes=n_classes)
