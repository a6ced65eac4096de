"""Scores of one tile, computed in worker processes: imports no torch."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from cellvit.formats.dataset import PANNUKE, DataSet
from cellvit.formats.tile_table import TileScores as TileTable
from cellvit.hover.classical import segment_classical
from cellvit.hover.decode import Watershed
from cellvit.hover.parameters import Classical
from cellvit.inference.predictions import Segmentation
from cellvit.inference.segment import one_class, segment_tile
from cellvit.metrics.classification import CALIBRATION_BINS, calibration_sums
from cellvit.metrics.detection import RADIUS_UM, CentroidPairs, detection_counts, pair_table, pair_within
from cellvit.metrics.maps import columns_of as map_columns
from cellvit.metrics.outlines import borders, outline_distances_of, tolerant_panoptic_of
from cellvit.metrics.overlap import aji_of, aji_plus_of, as_rows, dice_of
from cellvit.metrics.pannuke import TileScores, tile_scores

_TILE_COLUMNS: Final = (
    *("n_true", "n_predicted", "annotated", "dice", "aji", "aji_plus", "dq", "sq", "pq", "bpq", "mpq", "mpq_strict"),
    "bpq_1px",
)
"""Scores of the tile, and the share of its pixels that are annotated. If nuclei are predicted on a tile without any, `pq` is
0, and `bpq` and `bpq_1px` are NaN. On a tile that is not annotated at all, every score is NaN, also the numbers of nuclei, and
what can be added over tiles is 0."""

OUTLINE_COLUMNS: Final = ("outlined", "boundary_um", "hausdorff_um")
"""Matched nuclei with an outline, and the sums of the two distances of `cellvit.metrics.outlines.OutlineDistances`."""

CALIBRATION_COLUMNS: Final = ("calibrated", *(f"calibration_{place}" for place in range(CALIBRATION_BINS)))
"""`cellvit.metrics.classification.calibration_sums` of the classes of the nuclei that are paired with a true nucleus of
known class within the radius; NaN for systems without probabilities."""


def class_pq_columns(keys: Sequence[str]) -> tuple[str, ...]:
    """PQ of each class on the tile; NaN if the class is absent from the ground truth."""
    return tuple(f"pq_{key}" for key in keys)


def panoptic_columns(keys: Sequence[str]) -> tuple[str, ...]:
    """Counts of `cellvit.metrics.overlap.PanopticCounts` by class, which can be added over tiles (mPQ+)."""
    return tuple(f"{part}_{key}" for key in keys for part in ("tp", "fp", "fn", "iou"))


def pair_columns(n_classes: int, *, near: bool = False) -> tuple[str, ...]:
    """Table of `cellvit.metrics.detection.detection_counts`, row by row, which can be added over tiles.

    Args:
        near: With the distances beyond the radius excluded first (`cellvit.metrics.detection.pair_within`).
    """
    name, side = "near_pairs" if near else "pairs", range(n_classes + 2)
    return tuple(f"{name}_{t}_{p}" for t in side for p in side)


def score_columns(keys: Sequence[str]) -> tuple[str, ...]:
    """Scores of the tile, then those of each class."""
    return (*_TILE_COLUMNS, *class_pq_columns(keys))


def columns_of(data_set: DataSet) -> tuple[str, ...]:
    """Every score of a tile of a data set; every value of an evaluation is a function of these columns."""
    keys, n = data_set.class_keys, data_set.n_classes
    pairs = (*pair_columns(n), *pair_columns(n, near=True))
    counts = (*score_columns(keys), *panoptic_columns(keys), *pairs, *OUTLINE_COLUMNS, *CALIBRATION_COLUMNS)
    return (*counts, *map_columns(n))


COLUMNS: Final = columns_of(PANNUKE)
"""Scores of PanNuke's tiles."""


def class_keys_of(tiles: TileTable) -> tuple[str, ...]:
    """Keys of the classes of scored tiles, in order."""
    return tuple(name.removeprefix("tp_") for name in tiles.columns if name.startswith("tp_"))


class MapsTask(NamedTuple):
    """Maps of one tile that are to be segmented and scored.

    Attributes:
        map_sums: The tile's row of `cellvit.metrics.maps.MapSums`, which is passed on into the scores.
    """

    truth: Segmentation
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]
    nt_prob: Float32[np.ndarray, "c h w"]
    map_sums: Float64[np.ndarray, " s"]


class ImageTask(NamedTuple):
    """Image of one tile for the classical baseline."""

    truth: Segmentation
    image: UInt8[np.ndarray, "h w 3"]


def score_maps(watershed: Watershed, data_set: DataSet, task: MapsTask) -> Float64[np.ndarray, " k"]:
    """Scores of the maps of a tile, predicted or perfect, in the order of `columns_of`."""
    prediction = segment_tile(task.np_prob, task.hv, task.nt_prob, watershed)
    return np.concatenate([score_segmentation(task.truth, prediction, data_set), task.map_sums])


def score_classical(
    chosen: Classical, majority_class: int, data_set: DataSet, task: ImageTask
) -> Float64[np.ndarray, " k"]:
    """Scores of the classical baseline on a tile; it has no maps, so their columns are NaN."""
    nuclei = segment_classical(task.image, chosen, annotated=task.truth.annotated)
    prediction = one_class(nuclei, majority_class)
    no_maps = np.full(len(map_columns(data_set.n_classes)), np.nan)
    return np.concatenate([score_segmentation(task.truth, prediction, data_set), no_maps])


def score_segmentation(truth: Segmentation, prediction: Segmentation, data_set: DataSet) -> Float64[np.ndarray, " k"]:
    """Scores, counts and sums of one tile: all columns except the sums of maps.

    The part of the prediction that is not annotated is removed first (`cellvit.metrics.annotated`).
    """
    annotated = truth.annotated
    prediction = prediction.within(annotated)
    n_classes, mpp, radius_px = data_set.n_classes, data_set.mpp, RADIUS_UM / data_set.mpp
    sides = truth.instances, truth.classes, prediction.instances, prediction.classes
    scores = tile_scores(*sides, n_classes=n_classes)
    table, binary = scores.table, scores.binary
    maps = truth.instances, prediction.instances, table, borders(truth.instances, annotated)
    tolerant, distances = tolerant_panoptic_of(*maps), outline_distances_of(*maps, annotated=annotated)
    counted = annotated.any()  # else both sides are without nuclei, and every score is undefined
    n_nuclei = (len(table.true_area), len(table.predicted_area)) if counted else (np.nan, np.nan)
    of_tile = (
        *(*n_nuclei, annotated.mean(), dice_of(table), aji_of(table), aji_plus_of(table)),
        *(binary.dq, binary.sq, binary.pq, scores.bpq, scores.mpq, scores.mpq_strict),
        tolerant.pq if tolerant.n_true else np.nan,
        *scores.pq.tolist(),
    )
    true_at, predicted_at = scores.centroids
    true_class_of, predicted_class_of = scores.true_class_of, scores.predicted_class_of
    pairs = detection_counts(
        true_at, true_class_of, predicted_at, predicted_class_of, n_classes=n_classes, radius_px=radius_px
    )
    near = pair_within(true_at, predicted_at, radius_px=radius_px)
    near_pairs = pair_table(true_class_of, predicted_class_of, near, n_classes=n_classes)
    outlined = (len(distances.mean_px), mpp * distances.mean_px.sum(), mpp * distances.hausdorff_px.sum())
    counts = (as_rows(scores.counts).ravel(), pairs.ravel(), near_pairs.ravel())
    return np.concatenate([of_tile, *counts, outlined, _calibration(scores, near, prediction.probability)])


def _calibration(
    scores: TileScores, near: CentroidPairs, probability: Float32[np.ndarray, " n"] | None
) -> Float64[np.ndarray, " c"]:
    if probability is None:
        return np.full(len(CALIBRATION_COLUMNS), np.nan)
    true_class = scores.true_class_of[near.true]
    known = true_class != 0
    right = true_class == scores.predicted_class_of[near.predicted]
    return calibration_sums(probability[near.predicted][known], right[known])
