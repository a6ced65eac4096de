"""Measurements of one tile, in worker processes: imports no torch."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from cellvit.hover.classical import segment_classical
from cellvit.hover.decode import Watershed, segment_grid
from cellvit.inference.predictions import Segmentation
from cellvit.inference.segment import one_class, segment_tile
from cellvit.metrics.detection import UNPAIRED, detection_counts
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.overlap import aji, aji_of, aji_plus_of, as_rows, dice_of
from cellvit.metrics.pannuke import TileScores, tile_scores
from cellvit.taxonomy import CLASS_NAMES, NUCLEUS_CLASSES

CLASS_KEYS: Final = tuple(CLASS_NAMES[number].lower() for number in NUCLEUS_CLASSES)
"""Nuclear classes as metric names spell them, in order."""

CLASS_PQ_COLUMNS: Final = tuple(f"pq_{name}" for name in CLASS_KEYS)
"""PQ of each class on the tile; NaN where the class is absent from the truth."""

SCORE_COLUMNS: Final = (
    "n_true",
    "n_found",
    "dice",
    "aji",
    "aji_plus",
    "dq",
    "sq",
    "pq",
    "bpq",
    "mpq",
    "mpq_strict",
    *CLASS_PQ_COLUMNS,
)
"""Scores of the tile. `pq` is 0 and `bpq` NaN where nuclei were found on a tile without any."""

PANOPTIC_COLUMNS: Final = tuple(f"{part}_{name}" for name in CLASS_KEYS for part in ("tp", "fp", "fn", "iou"))
"""Counts of `cellvit.metrics.overlap.PanopticCounts` by class: they add up over tiles (mPQ+)."""

PAIR_COLUMNS: Final = tuple(f"pairs_{t}_{f}" for t in range(UNPAIRED + 1) for f in range(UNPAIRED + 1))
"""Table of `cellvit.metrics.detection.detection_counts`, row by row: it adds up over tiles."""

COLUMNS: Final = (*SCORE_COLUMNS, *PANOPTIC_COLUMNS, *PAIR_COLUMNS, *MAP_COLUMNS)
"""Everything that is measured on a tile; every figure of an evaluation is a function of these columns."""


class Truth(NamedTuple):
    """Annotation of one tile; `patient` is empty where unknown."""

    tile_id: str
    organ: str
    instances: Int32[np.ndarray, "h w"]
    classes: UInt8[np.ndarray, "h w"]
    patient: str = ""

    def judged(self, values: Float64[np.ndarray, " k"]) -> "TileRow":
        """What was measured on the tile, under its names."""
        return TileRow(self.tile_id, self.organ, self.patient, values)


@dataclass(frozen=True, slots=True)
class MapsTask:
    """Maps of one tile to be segmented and scored.

    Attributes:
        map_sums: The tile's row of `cellvit.metrics.maps.MapSums`, passed on into the scores.
    """

    truth: Truth
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]
    nt_prob: Float32[np.ndarray, "6 h w"]
    map_sums: Float64[np.ndarray, " s"]


class ImageTask(NamedTuple):
    """Image of one tile for the classical baseline."""

    truth: Truth
    image: UInt8[np.ndarray, "h w 3"]


class TileRow(NamedTuple):
    """Measurements of one tile, in the order of `COLUMNS`."""

    tile_id: str
    organ: str
    patient: str
    values: Float64[np.ndarray, " k"]


class GridTask(NamedTuple):
    """Maps of one tile to be segmented with every point of a grid."""

    instances: Int32[np.ndarray, "h w"]
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]


def score_maps(watershed: Watershed, task: MapsTask) -> TileRow:
    """Measurements of a tile that a decoder (or the oracle) has mapped."""
    found = segment_tile(task.np_prob, task.hv, task.nt_prob, watershed)
    values = np.concatenate([score_segmentation(task.truth, found), task.map_sums])
    return task.truth.judged(values)


def score_classical(majority_class: int, task: ImageTask) -> TileRow:
    """Measurements of the classical baseline on a tile; it has no maps, so their columns are NaN."""
    found = one_class(segment_classical(task.image), majority_class)
    values = np.concatenate([score_segmentation(task.truth, found), np.full(len(MAP_COLUMNS), np.nan)])
    return task.truth.judged(values)


def score_grid(grid: tuple[Watershed, ...], task: GridTask) -> Float64[np.ndarray, " p"]:
    """AJI of a tile with each point of the grid, in its order; NaN where neither truth nor found has a nucleus."""
    return np.array([aji(task.instances, found) for _, found in segment_grid(task.np_prob, task.hv, grid)])


def score_segmentation(truth: Truth, found: Segmentation) -> Float64[np.ndarray, " k"]:
    """Scores, panoptic counts and detections of one tile: all of `COLUMNS` but the sums of maps."""
    scores = tile_scores(truth.instances, truth.classes, found.instances, found.classes)
    true_at, predicted_at = scores.centroids
    detections = detection_counts(true_at, scores.true_class_of, predicted_at, scores.predicted_class_of)
    return np.concatenate([_scores(scores), as_rows(scores.counts).ravel(), detections.ravel()])


def _scores(scores: TileScores) -> Float64[np.ndarray, " s"]:
    table, binary = scores.table, scores.binary
    values = (
        len(table.true_area),
        len(table.predicted_area),
        dice_of(table),
        aji_of(table),
        aji_plus_of(table),
        binary.dq,
        binary.sq,
        binary.pq,
        scores.bpq,
        scores.mpq,
        scores.mpq_strict,
        *scores.pq.tolist(),
    )
    return np.array(values, np.float64)
