"""Scores of one tile, computed in worker processes: imports no torch."""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from cellvit.hover.classical import segment_classical
from cellvit.hover.decode import Watershed
from cellvit.hover.parameters import Classical
from cellvit.inference.predictions import Segmentation
from cellvit.inference.segment import one_class, segment_tile
from cellvit.metrics.classification import CALIBRATION_BINS, calibration_sums
from cellvit.metrics.detection import UNPAIRED, CentroidPairs, detection_counts, pair_table, pair_within
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.outlines import borders, outline_distances_of, tolerant_panoptic_of
from cellvit.metrics.overlap import aji_of, aji_plus_of, as_rows, dice_of
from cellvit.metrics.pannuke import TileScores, tile_scores
from cellvit.taxonomy import CLASS_NAMES, NUCLEUS_CLASSES, TILE_MPP, NucleusClass

CLASS_KEYS: Final = tuple(CLASS_NAMES[number].lower() for number in NUCLEUS_CLASSES)
"""Nuclear classes as the names of metrics spell them, in order."""

CLASS_PQ_COLUMNS: Final = tuple(f"pq_{name}" for name in CLASS_KEYS)
"""PQ of each class on the tile; NaN if the class is absent from the ground truth."""

SCORE_COLUMNS: Final = (
    *("n_true", "n_predicted", "dice", "aji", "aji_plus", "dq", "sq", "pq", "bpq", "mpq", "mpq_strict"),
    "bpq_1px",
    *CLASS_PQ_COLUMNS,
)
"""Scores of the tile. If nuclei are predicted on a tile without any, `pq` is 0, and `bpq` and `bpq_1px` are NaN."""

PANOPTIC_COLUMNS: Final = tuple(f"{part}_{name}" for name in CLASS_KEYS for part in ("tp", "fp", "fn", "iou"))
"""Counts of `cellvit.metrics.overlap.PanopticCounts` by class, which can be added over tiles (mPQ+)."""

PAIR_COLUMNS: Final = tuple(f"pairs_{t}_{p}" for t in range(UNPAIRED + 1) for p in range(UNPAIRED + 1))
"""Table of `cellvit.metrics.detection.detection_counts`, row by row, which can be added over tiles."""

NEAR_PAIR_COLUMNS: Final = tuple(name.replace("pairs", "near_pairs") for name in PAIR_COLUMNS)
"""The same table with the distances beyond the radius excluded first (`cellvit.metrics.detection.pair_within`)."""

OUTLINE_COLUMNS: Final = ("outlined", "boundary_um", "hausdorff_um")
"""Matched nuclei with an outline, and the sums of the two distances of `cellvit.metrics.outlines.OutlineDistances`."""

CALIBRATION_COLUMNS: Final = ("calibrated", *(f"calibration_{place}" for place in range(CALIBRATION_BINS)))
"""`cellvit.metrics.classification.calibration_sums` of the classes of the nuclei that are paired with a true nucleus of
known class within the radius; NaN for systems without probabilities."""

COLUMNS: Final = (
    *(*SCORE_COLUMNS, *PANOPTIC_COLUMNS, *PAIR_COLUMNS, *NEAR_PAIR_COLUMNS, *OUTLINE_COLUMNS, *CALIBRATION_COLUMNS),
    *MAP_COLUMNS,
)
"""Every score of a tile; every value of an evaluation is a function of these columns."""


class MapsTask(NamedTuple):
    """Maps of one tile that are to be segmented and scored.

    Attributes:
        map_sums: The tile's row of `cellvit.metrics.maps.MapSums`, which is passed on into the scores.
    """

    truth: Segmentation
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]
    nt_prob: Float32[np.ndarray, "6 h w"]
    map_sums: Float64[np.ndarray, " s"]


class ImageTask(NamedTuple):
    """Image of one tile for the classical baseline."""

    truth: Segmentation
    image: UInt8[np.ndarray, "h w 3"]


def score_maps(watershed: Watershed, task: MapsTask) -> Float64[np.ndarray, " k"]:
    """Scores of the maps of a tile, predicted or perfect, in the order of `COLUMNS`."""
    prediction = segment_tile(task.np_prob, task.hv, task.nt_prob, watershed)
    return np.concatenate([score_segmentation(task.truth, prediction), task.map_sums])


def score_classical(chosen: Classical, majority_class: int, task: ImageTask) -> Float64[np.ndarray, " k"]:
    """Scores of the classical baseline on a tile; it has no maps, so their columns are NaN."""
    prediction = one_class(segment_classical(task.image, chosen), majority_class)
    return np.concatenate([score_segmentation(task.truth, prediction), np.full(len(MAP_COLUMNS), np.nan)])


def score_segmentation(truth: Segmentation, prediction: Segmentation) -> Float64[np.ndarray, " k"]:
    """Scores, counts and sums of one tile: all of `COLUMNS` except the sums of maps."""
    scores = tile_scores(truth.instances, truth.classes, prediction.instances, prediction.classes)
    table, binary = scores.table, scores.binary
    maps = truth.instances, prediction.instances, table, borders(truth.instances)
    tolerant, distances = tolerant_panoptic_of(*maps), outline_distances_of(*maps)
    of_tile = (
        *(len(table.true_area), len(table.predicted_area), dice_of(table), aji_of(table), aji_plus_of(table)),
        *(binary.dq, binary.sq, binary.pq, scores.bpq, scores.mpq, scores.mpq_strict),
        tolerant.pq if tolerant.n_true else np.nan,
        *scores.pq.tolist(),
    )
    true_at, predicted_at = scores.centroids
    pairs = detection_counts(true_at, scores.true_class_of, predicted_at, scores.predicted_class_of)
    near = pair_within(true_at, predicted_at)
    near_pairs = pair_table(scores.true_class_of, scores.predicted_class_of, near)
    outlined = (len(distances.mean_px), TILE_MPP * distances.mean_px.sum(), TILE_MPP * distances.hausdorff_px.sum())
    counts = (as_rows(scores.counts).ravel(), pairs.ravel(), near_pairs.ravel())
    return np.concatenate([of_tile, *counts, outlined, _calibration(scores, near, prediction.probability)])


def _calibration(
    scores: TileScores, near: CentroidPairs, probability: Float32[np.ndarray, " n"] | None
) -> Float64[np.ndarray, " c"]:
    if probability is None:
        return np.full(len(CALIBRATION_COLUMNS), np.nan)
    true_class = scores.true_class_of[near.true]
    known = true_class != NucleusClass.BACKGROUND
    right = true_class == scores.predicted_class_of[near.predicted]
    return calibration_sums(probability[near.predicted][known], right[known])
