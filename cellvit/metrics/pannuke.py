"""PanNuke's protocol: bPQ and class PQs of a tile, means over organs, and the variants that papers report beside them.

bPQ and mPQ as published are means over tiles, then over organs; mPQ+ pools the counts of all tiles first. The
published program differs in two ways that do not show in the third decimal: it adds 1e-6 to the denominator of SQ,
and takes a class's nuclei from its own mask channel, where we take the painted map (pixels where channels overlap
belong to the later one) for the class PQs as well as for bPQ.

References:
    Gamper et al., PanNuke dataset extension, insights and baselines, arXiv 2003.10778 (2020).
    Graham et al., CoNIC challenge, Medical Image Analysis 2024 (mPQ+).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped

from cellvit.metrics.contingency import Contingency, Overlay, centroids_of, contingency_of, overlay
from cellvit.metrics.instances import N_CLASSES, InstanceMap, check_same_shape, checked_classes, vote
from cellvit.metrics.overlap import MATCH_IOU, PanopticCounts, as_rows, panoptic_of, panoptic_quality_of_sums
from cellvit.metrics.ratio import mean_defined, ratio


@dataclass(frozen=True, eq=False)  # no slots: `centroids` are kept
class TileScores:
    """Panoptic quality of one tile, all nuclei together and class by class.

    Attributes:
        table: Overlaps from which everything here was computed; AJI, AJI+ and Dice take it too.
        true_class_of: Class of each true nucleus, in the order of `table.true_labels`.
        found_class_of: Class of each found nucleus, likewise.
        laid: Both maps laid over one another.
        binary: Counts of all nuclei, whatever their class.
        counts: Counts of the classes 1..5; a pair matches only within a class. They add up over tiles for mPQ+.
    """

    table: Contingency
    true_class_of: Int64[np.ndarray, " n_true"]
    found_class_of: Int64[np.ndarray, " n_found"]
    laid: Overlay
    binary: PanopticCounts
    counts: tuple[PanopticCounts, ...]

    @cached_property
    def centroids(self) -> tuple[Float64[np.ndarray, "n_true 2"], Float64[np.ndarray, "n_found 2"]]:
        """Mean (row, column) in pixels of the true and of the found nuclei, in the order of `table`."""
        return centroids_of(self.laid, self.table)

    @property
    def bpq(self) -> float:
        """Binary PQ; NaN where the truth has no nucleus (found ones then do not count)."""
        return self.binary.pq if self.binary.n_true else float("nan")

    @property
    def pq(self) -> Float64[np.ndarray, " 5"]:
        """PQ of the classes 1..5; NaN where the truth has none of a class (found ones then do not count)."""
        return np.array([c.pq if c.n_true else np.nan for c in self.counts])

    @property
    def mpq(self) -> float:
        """Mean of the defined class PQs; NaN where the truth has no nucleus of a class."""
        return mean_defined(self.pq)

    @property
    def mpq_strict(self) -> float:
        """Mean over the classes of truth or prediction: a class that is found but absent from the truth scores 0."""
        return mean_defined(np.array([c.pq for c in self.counts]))


def tile_scores(
    truth: InstanceMap, truth_classes: InstanceMap, found: InstanceMap, found_classes: InstanceMap
) -> TileScores:
    """Scores of one tile by PanNuke's protocol, from one contingency table.

    The class of a nucleus is the most frequent nuclear class (1..5) of its pixels, the smaller number in a tie; a
    nucleus whose pixels are all of class 0 counts in bPQ and in no class.

    Raises:
        ContractError: Shapes differ, ids are negative or not integers, or classes are outside 0..5.

    Examples:
        >>> instances, classes = np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 3]])
        >>> scores = tile_scores(instances, classes, instances, np.array([[1, 1, 0, 2]]))
        >>> scores.bpq, scores.pq.tolist()
        (1.0, [1.0, nan, 0.0, nan, nan])
        >>> scores.mpq, round(scores.mpq_strict, 4)
        (0.5, 0.3333)
    """
    check_same_shape("truth and its classes", truth, truth_classes)
    check_same_shape("found and its classes", found, found_classes)
    laid = overlay(truth, found, truth_classes, found_classes)
    table = contingency_of(laid)
    true_class_of = _class_of(laid, laid.true_place, len(table.true_area), truth_classes)
    found_class_of = _class_of(laid, laid.found_place, len(table.found_area), found_classes)
    return TileScores(
        table=table,
        true_class_of=true_class_of,
        found_class_of=found_class_of,
        laid=laid,
        binary=panoptic_of(table),
        counts=class_counts(table, true_class_of, found_class_of),
    )


def class_counts(
    table: Contingency, true_class_of: Int64[np.ndarray, " n_true"], found_class_of: Int64[np.ndarray, " n_found"]
) -> tuple[PanopticCounts, ...]:
    """Panoptic counts of the classes 1..5, in order: pairs of one class with IoU > 0.5."""
    pairs = table.pairs
    classes = true_class_of[pairs.true]
    match = np.flatnonzero((pairs.iou > MATCH_IOU) & (classes == found_class_of[pairs.found]))
    matched = np.bincount(classes[match], minlength=N_CLASSES)
    matched_iou = np.bincount(classes[match], pairs.iou[match], minlength=N_CLASSES)
    n_true = np.bincount(true_class_of, minlength=N_CLASSES)
    n_found = np.bincount(found_class_of, minlength=N_CLASSES)
    columns = zip(matched, n_found - matched, n_true - matched, matched_iou, strict=True)
    return tuple(PanopticCounts(int(tp), int(fp), int(fn), float(total)) for tp, fp, fn, total in columns)[1:]


def organ_means(values: Float[np.ndarray, " n"], organs: Shaped[np.ndarray, " n"]) -> dict[str, float]:
    """Mean of the tiles of each organ that is there, sorted by name; NaN tiles are left out, NaN where all are.

    Examples:
        >>> organ_means(np.array([0.2, 0.4, np.nan]), np.array(["Colon", "Colon", "Liver"]))
        {'Colon': 0.30000000000000004, 'Liver': nan}
    """
    return {str(organ): mean_defined(values[organs == organ]) for organ in np.unique(organs)}


def mean_over_organs(values: Float[np.ndarray, " n"], organs: Shaped[np.ndarray, " n"]) -> float:
    """Mean over organs of the organ means: bPQ or mPQ as published. Organs without a defined tile are left out.

    Examples:
        >>> mean_over_organs(np.array([0.25, 0.75, 1.0]), np.array(["Colon", "Colon", "Liver"]))
        0.75
    """
    return mean_defined(np.array(list(organ_means(values, organs).values())))


def counts_array(counts: Sequence[Sequence[PanopticCounts]]) -> Float64[np.ndarray, "n c 4"]:
    """`TileScores.counts` of n tiles as rows (TP, FP, FN, sum of IoU), to be saved, summed or resampled."""
    return np.stack([as_rows(tile) for tile in counts]) if len(counts) else np.zeros((0, N_CLASSES - 1, 4))


def pooled_mpq(counts: Sequence[Sequence[PanopticCounts]]) -> float:
    """mPQ+: counts of each class summed over all tiles, PQ of each class, then their mean (CoNIC).

    A class that no tile has, in truth or prediction, is left out; NaN where that holds for all.

    Examples:
        >>> pooled_mpq([[PanopticCounts(1, 0, 0, 0.8)], [PanopticCounts(1, 0, 0, 0.6)]])
        0.7
    """
    return float(pooled_mpq_of_sums(counts_array(counts).sum(axis=0)))


def pooled_mpq_of_sums(sums: Float64[np.ndarray, "*batch c 4"]) -> Float64[np.ndarray, "*batch"]:
    """mPQ+ of sums over tiles, as `intervals.bootstrap` wants it after a reshape to (r, c, 4)."""
    quality = panoptic_quality_of_sums(sums)
    defined: Bool[np.ndarray, "*batch c"] = ~np.isnan(quality)
    total = np.where(defined, quality, 0).sum(axis=-1)
    return ratio(total, defined.sum(axis=-1))


def _class_of(
    laid: Overlay, places: Int64[np.ndarray, " r"], n_nuclei: int, classes: InstanceMap
) -> Int64[np.ndarray, " n"]:
    class_of_stretch = classes.ravel()[laid.start]
    class_of_stretch[places == 0] = 0  # what a class map says outside the nuclei does not matter
    return vote(places, checked_classes(class_of_stretch), laid.length_px, n_nuclei=n_nuclei)
