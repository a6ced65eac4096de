"""Nuclei that a decoder finds on annotated tiles -> reliability of its class probabilities, bounds of counts.

The work on one tile runs in worker processes: imports no torch.

References:
    Guo et al., On calibration of modern neural networks, ICML 2017 (reliability).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from cellvit.formats.calibration import (
    ALL_CLASSES,
    COUNT_LEVEL,
    CountBound,
    Reliability,
    ReliabilityBin,
    UnitCounts,
)
from cellvit.hover.classes import calibrated, class_map, class_probabilities, classify
from cellvit.hover.decode import Watershed, segment_grid
from cellvit.inference.predictions import Segmentation
from cellvit.metrics.annotated import within
from cellvit.metrics.conformal import count_scores, covered, share_bound
from cellvit.metrics.overlap import MATCH_IOU
from cellvit.metrics.pannuke import tile_scores

RELIABILITY_BINS: Final = 10


class TileMaps(NamedTuple):
    """Predicted maps of one tile, and its ground truth."""

    truth: Segmentation
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]
    nt_prob: Float32[np.ndarray, "c_plus_1 h w"]


class Nuclei(NamedTuple):
    """Predicted nuclei that match an annotated nucleus.

    Attributes:
        probability: Of each nuclear class, summing to 1, before any temperature.
        predicted_class, true_class: Number of the class, from 1.
    """

    probability: Float32[np.ndarray, "n c"]
    predicted_class: Int64[np.ndarray, " n"]
    true_class: Int64[np.ndarray, " n"]

    @property
    def right(self) -> Bool[np.ndarray, " n"]:
        """Whether the predicted class is the true one."""
        right: Bool[np.ndarray, " n"] = self.predicted_class == self.true_class
        return right

    @classmethod
    def concatenated(cls, parts: Sequence[Self], n_classes: int) -> Self:
        """The nuclei of all parts, in order."""
        none = (np.empty((0, n_classes), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
        return cls(*(np.concatenate(columns) for columns in zip(none, *parts, strict=True)))


class TileFindings(NamedTuple):
    """What the calibration needs of one tile.

    Attributes:
        true, predicted: Number of nuclei: of all together, then of each class.
        is_annotated: False if no pixel of the tile is annotated, so that its true counts are unknown.
    """

    nuclei: Nuclei
    true: Int64[np.ndarray, " c_plus_1"]
    predicted: Int64[np.ndarray, " c_plus_1"]
    is_annotated: bool


def findings_of(watershed: Watershed, n_classes: int, tile: TileMaps) -> TileFindings:
    """Decode a tile as evaluations do, and match its nuclei with the ground truth (IoU above 0.5).

    The part of the prediction that is not annotated is removed first (`cellvit.metrics.annotated`).
    """
    ((_, instances),) = segment_grid(tile.np_prob, tile.hv, [watershed])
    probability = class_probabilities(instances, tile.nt_prob)
    classes = class_map(instances, classify(instances, tile.nt_prob).classes)
    counted = within(instances, tile.truth.annotated)
    scores = tile_scores(tile.truth.instances, tile.truth.classes, counted, classes, n_classes=n_classes)
    pairs = scores.table.pairs
    matched = pairs.iou > MATCH_IOU
    true, predicted = pairs.true[matched], pairs.predicted[matched]
    nuclei = Nuclei(
        probability[scores.table.predicted_labels[predicted] - 1],
        scores.predicted_class_of[predicted],
        scores.true_class_of[true],
    )
    sides = (_counts(scores.true_class_of, n_classes), _counts(scores.predicted_class_of, n_classes))
    return TileFindings(nuclei, *sides, bool(tile.truth.annotated.any()))


def reliability_of(nuclei: Nuclei, temperature: float) -> Reliability:
    """Probability of the predicted class beside the share of right classes, in ten bins; error NaN without nuclei."""
    probability = calibrated(nuclei.probability, temperature)
    confidence = np.take_along_axis(probability, nuclei.predicted_class[:, None] - 1, axis=1)[:, 0].astype(np.float64)
    place = np.minimum((confidence * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    n, confidences, right = (
        np.bincount(place, weights, RELIABILITY_BINS) for weights in (None, confidence, nuclei.right.astype(np.float64))
    )
    return reliability_of_sums(n.astype(np.int64), confidences, right)


def reliability_of_sums(
    n: Int64[np.ndarray, " bins"], confidence: Float64[np.ndarray, " bins"], right: Float64[np.ndarray, " bins"]
) -> Reliability:
    """Reliability from the nuclei of each bin, the sum of their probabilities and the number of right ones."""
    bins = tuple(
        ReliabilityBin(n=count, mean_probability=p / count, accuracy=r / count)
        if count
        else ReliabilityBin(n=0, mean_probability=math.nan, accuracy=math.nan)
        for count, p, r in zip(n.tolist(), confidence.tolist(), right.tolist(), strict=True)
    )
    total = int(n.sum())
    error = float(np.abs(right - confidence).sum()) / total if total else math.nan
    return Reliability(bins=bins, error=error, n=total)


def unit_counts(
    tiles: Iterable[TileFindings], units: Sequence[str], class_names: Sequence[str]
) -> tuple[UnitCounts, ...]:
    """True and predicted counts of each unit, the sums over its annotated tiles, in the order of appearance.

    Args:
        units: The unit of each tile: its patient, or the tile itself.
        class_names: Names of the nuclear classes.
    """
    sums: dict[str, list[Int64[np.ndarray, " c_plus_1"]]] = {}
    for tile, unit in zip(tiles, units, strict=True):
        if tile.is_annotated:
            true, predicted = sums.get(unit, [np.zeros_like(tile.true), np.zeros_like(tile.predicted)])
            sums[unit] = [true + tile.true, predicted + tile.predicted]
    return tuple(
        UnitCounts(unit=unit, true=_by_name(true, class_names), predicted=_by_name(predicted, class_names))
        for unit, (true, predicted) in sums.items()
    )


def count_bounds(
    units: Sequence[UnitCounts], tests: Sequence[UnitCounts], class_names: Sequence[str]
) -> tuple[CountBound, ...]:
    """Bound of the relative error of each count from validation units, and how many test units it covers.

    A unit that occurs several times, because several splits validate it, counts once, with its greatest error. A class
    without a true or predicted nucleus has no bound: its errors of 0 would state a certainty that nothing supports.
    """
    found = []
    for name in dict.fromkeys((ALL_CLASSES, *class_names)):
        occurs = any(side[name] for unit in units for side in (unit.true, unit.predicted))
        scores = worst_scores(units if occurs else (), name)
        share = share_bound(scores, COUNT_LEVEL)
        inside = covered(_scores(tests, name), share)
        n_test = 0 if math.isnan(share) else len(inside)
        found.append(
            CountBound(class_name=name, share=share, n_units=len(scores), test_covered=int(inside.sum()), test_n=n_test)
        )
    return tuple(found)


def worst_scores(units: Sequence[UnitCounts], name: str) -> Float64[np.ndarray, " n"]:
    """Greatest error of each unit in the count of a class."""
    worst: dict[str, float] = {}
    for unit, score in zip(units, _scores(units, name).tolist(), strict=True):
        worst[unit.unit] = max(score, worst.get(unit.unit, 0.0))
    return np.array(list(worst.values()), np.float64)


def _scores(units: Sequence[UnitCounts], name: str) -> Float64[np.ndarray, " n"]:
    true, predicted = (np.array([side[name] for side in sides], np.int64) for sides in _sides(units))
    return count_scores(true, predicted)


def _sides(units: Sequence[UnitCounts]) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    return [unit.true for unit in units], [unit.predicted for unit in units]


def _by_name(counts: Int64[np.ndarray, " c_plus_1"], class_names: Sequence[str]) -> dict[str, int]:
    """Counts by name, that of all nuclei first, also where a class has its name."""
    total, *of_classes = counts.tolist()
    return {ALL_CLASSES: total} | dict(zip(class_names, of_classes, strict=True)) | {ALL_CLASSES: total}


def _counts(class_of: Int64[np.ndarray, " n"], n_classes: int) -> Int64[np.ndarray, " c_plus_1"]:
    """Number of all nuclei, then of those of each class."""
    counts: Int64[np.ndarray, " c_plus_1"] = np.bincount(class_of, minlength=n_classes + 1)
    counts[0] = len(class_of)
    return counts
