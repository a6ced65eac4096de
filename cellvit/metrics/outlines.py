"""Borders of nuclei: distance of the outlines of matched nuclei, and PQ that does not count the pixels at true borders.

References:
    Yeghiazaryan and Voiculescu, Family of boundary overlap metrics for the evaluation of medical image segmentation,
    Journal of Medical Imaging 2018 (average symmetric surface distance, 95 % Hausdorff distance).
    Everingham et al., The Pascal visual object classes challenge, IJCV 2010 (pixels at borders are not counted).
    Foucart et al., Panoptic quality should be avoided as a metric for assessing cell nuclei segmentation and
    classification in digital pathology, Scientific Reports 2023 (a shift by one pixel costs small nuclei most).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.distance import cdist

from cellvit.hover.relabel import TABLE_IDS
from cellvit.metrics.contingency import Contingency
from cellvit.metrics.instances import InstanceMap
from cellvit.metrics.overlap import MATCH_IOU, PanopticCounts
from cellvit.metrics.ratio import ratio

HAUSDORFF_SHARE: Final = 0.95
"""Share of the outline that is at most as far away as the Hausdorff distance says; the whole outline depends on one pixel."""


class OutlineDistances(NamedTuple):
    """Distances between the outlines of the matched nuclei of one tile, one entry per pair.

    Attributes:
        mean_px: Mean distance of the pixels of either outline from the other outline.
        hausdorff_px: 95 % of the pixels of each outline are at most so far from the other outline.
    """

    mean_px: Float64[np.ndarray, " k"]
    hausdorff_px: Float64[np.ndarray, " k"]


def borders(instances: InstanceMap, annotated: Bool[np.ndarray, "h w"] | None = None) -> Bool[np.ndarray, "h w"]:
    """Pixels with a neighbour (of four) of another value, on both sides of each border.

    Neither the edge of the tile nor that of the annotated region is a border: where the nucleus ends is not known there.

    Args:
        annotated: False in pixels that are not annotated; None if all are.

    Examples:
        >>> borders(np.array([[1, 1, 1, 0, 0, 2]])).astype(int).tolist()
        [[0, 0, 1, 1, 1, 1]]
        >>> borders(np.array([[1, 1, 0, 0]]), np.array([[True, True, False, False]])).astype(int).tolist()
        [[0, 0, 0, 0]]
    """
    edge = np.zeros(instances.shape, bool)
    across, along = instances[:, 1:] != instances[:, :-1], instances[1:] != instances[:-1]
    if annotated is not None:
        across &= annotated[:, 1:] & annotated[:, :-1]
        along &= annotated[1:] & annotated[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= along
    edge[:-1] |= along
    return edge


def outline_distances(truth: InstanceMap, prediction: InstanceMap, table: Contingency) -> OutlineDistances:
    """Distances of the pairs with IoU > 0.5, in the order of `table.pairs`.

    A pair is left out if one of both has no outline, as a nucleus that fills the tile.

    Args:
        table: Contingency table of both maps.

    Examples:
        >>> from cellvit.metrics.contingency import contingency
        >>> truth, prediction = np.array([[1, 1, 1, 1, 0, 0]]), np.array([[1, 1, 1, 1, 1, 0]])
        >>> outline_distances(truth, prediction, contingency(truth, prediction)).mean_px
        array([1.])
    """
    return outline_distances_of(truth, prediction, table, borders(truth))


def outline_distances_of(
    truth: InstanceMap,
    prediction: InstanceMap,
    table: Contingency,
    true_borders: Bool[np.ndarray, "h w"],
    *,
    annotated: Bool[np.ndarray, "h w"] | None = None,
) -> OutlineDistances:
    """`outline_distances` with the borders of the ground truth, which other metrics need too; `annotated` as of `borders`."""
    match = table.pairs.iou > MATCH_IOU
    true = _outline_of_each(truth, true_borders, table.true_labels[table.pairs.true[match]])
    predicted_labels = table.predicted_labels[table.pairs.predicted[match]]
    predicted = _outline_of_each(prediction, borders(prediction, annotated), predicted_labels)
    nearest: list[Float64[np.ndarray, " p"]] = []  # squared distances: of the true outline, of the predicted one, ...
    for one, other in zip(true, predicted, strict=True):
        if len(one) and len(other):
            square = cdist(one, other, "sqeuclidean")
            nearest += [np.sort(square.min(axis=1)), np.sort(square.min(axis=0))]
    if not nearest:
        return OutlineDistances(np.zeros(0), np.zeros(0))
    size = np.array([len(part) for part in nearest])
    begin = np.cumsum(size) - size
    distance_px = np.sqrt(np.concatenate(nearest))
    mean_px = np.add.reduceat(distance_px, begin).reshape(-1, 2).sum(axis=1) / size.reshape(-1, 2).sum(axis=1)
    # Distances of an outline are ascending: the smallest one that 95 % of its pixels do not exceed.
    at_share = distance_px[begin + np.ceil(HAUSDORFF_SHARE * size).astype(np.int64) - 1]
    return OutlineDistances(mean_px, at_share.reshape(-1, 2).max(axis=1))


def tolerant_panoptic(truth: InstanceMap, prediction: InstanceMap, table: Contingency) -> PanopticCounts:
    """Panoptic counts without the pixels on both sides of each true border: an outline that is off by 1 px costs nothing.

    A nucleus all of whose pixels are at true borders is not counted, on either side.

    Args:
        table: Contingency table of both maps.

    Examples:
        >>> from cellvit.metrics.contingency import contingency
        >>> truth, prediction = np.array([[0, 0, 1, 1, 1, 0, 0]]), np.array([[0, 1, 1, 1, 1, 1, 0]])
        >>> tolerant_panoptic(truth, prediction, contingency(truth, prediction)).pq
        1.0
    """
    return tolerant_panoptic_of(truth, prediction, table, borders(truth))


def tolerant_panoptic_of(
    truth: InstanceMap, prediction: InstanceMap, table: Contingency, true_borders: Bool[np.ndarray, "h w"]
) -> PanopticCounts:
    """`tolerant_panoptic` with the borders of the ground truth, which other metrics need too."""
    # Pixels at true borders by true and predicted nucleus (0 is background), to be subtracted from the table.
    at = np.flatnonzero(true_borders)
    rows, columns = len(table.true_area) + 1, len(table.predicted_area) + 1
    true_number = _number(truth.ravel()[at], table.true_labels)
    predicted_number = _number(prediction.ravel()[at], table.predicted_labels)
    ignored = np.bincount(true_number * columns + predicted_number, minlength=rows * columns).reshape(rows, columns)
    true_area = table.true_area - ignored[1:].sum(axis=1)
    predicted_area = table.predicted_area - ignored[:, 1:].sum(axis=0)
    # A match at IoU > 0.5 of the other pixels is unique as well, because each is in at most one nucleus of either side.
    pairs = table.pairs
    shared = pairs.shared_px - ignored[1:, 1:][pairs.true, pairs.predicted]
    union = true_area[pairs.true] + predicted_area[pairs.predicted] - shared
    iou = ratio(shared, union)
    matched = iou[iou > MATCH_IOU]
    return PanopticCounts(
        true_positives=len(matched),
        false_positives=int((predicted_area > 0).sum()) - len(matched),
        false_negatives=int((true_area > 0).sum()) - len(matched),
        matched_iou=float(matched.sum()),
    )


def _outline_of_each(
    instances: InstanceMap, at_borders: Bool[np.ndarray, "h w"], labels: Int64[np.ndarray, " k"]
) -> Iterator[Float64[np.ndarray, "p 2"]]:
    """(row, column) of the outline of each of the nuclei `labels`."""
    at = np.flatnonzero(at_borders)
    ids = instances.ravel()[at]
    order = np.argsort(ids.astype(np.uint16) if ids.max(initial=0) < TABLE_IDS else ids, kind="stable")
    ids, points = ids[order], np.stack(np.divmod(at[order], instances.shape[1]), axis=1).astype(np.float64)
    begin, end = np.searchsorted(ids, labels, "left"), np.searchsorted(ids, labels, "right")
    return (points[first:last] for first, last in zip(begin.tolist(), end.tolist(), strict=True))


def _number(ids: InstanceMap, labels: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " p"]:
    """Position of each id in the ascending labels plus one; 0 stays 0."""
    if labels.max(initial=0) >= TABLE_IDS:
        return np.where(ids > 0, np.searchsorted(labels, ids) + 1, 0)
    numbers = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    numbers[labels] = np.arange(1, len(labels) + 1)
    number: Int64[np.ndarray, " p"] = numbers[ids]
    return number
