"""Memory and time that each step requests from a scheduler, from its number of tiles and the attempt.

This module imports nothing heavy, because Snakemake reads it in every job. The values are measured peaks
(docs/resources.md, the timings of the real tiles on two CPU cores) plus a third to a half, rounded up;
comments say where a value was calculated or assumed instead. Clusters that are slower or faster set a percentage in their
profile, or `set-resources`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PANNUKE_FOLD_TILES: Final = 2722
"""Tiles of PanNuke's largest fold (2,656, 2,523 and 2,722): assumed for a fold that is not prepared yet."""

TILES_OF_IMAGE: Final = 16
"""Tiles that are cut from an image of a user's data set: assumed before they are cut (1,000 px at 0.25 um per pixel)."""

SLIDE_TILES: Final = 100_000
"""Tiles that are predicted of a slide: assumed before it is opened (100 mm2 of tissue at 0.25 um per pixel, half overlapping)."""

_CUDA_MB: Final = 3_000
"""Host memory of a process that has loaded CUDA (docs/resources.md)."""

_COPIES_OF_WEIGHTS: Final = 2
"""While the weights are loaded, the file is in memory beside the model: the peak of a run (docs/resources.md)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a step requests.

    Attributes:
        mb: Memory without any tile.
        mb_per_thousand: Additional memory for every thousand tiles.
        minutes: Time to start, load and write.
        minutes_per_thousand: Additional time for every thousand tiles.
        loads_encoder: True if the weights of the encoder are added to `mb`.
    """

    mb: int
    minutes: int
    mb_per_thousand: float = 0
    minutes_per_thousand: float = 0
    loads_encoder: bool = False


DEMANDS: Final[Mapping[str, Demand]] = {
    # 270 MB; 0.15 s per tile
    "simulate_pannuke": Demand(mb=1_000, minutes=10, minutes_per_thousand=5),
    # 300 MB, for 162 tiles and for 2,700, which took 90 s (and 40 s for the checks of images and masks, calculated); a network
    # disk may be ten times slower
    "prepare_fold": Demand(mb=1_000, minutes=15, minutes_per_thousand=6),
    # 300 MB, and what one image needs (12 bytes per pixel, calculated); 20 ms per tile, of which each image is read twice
    "prepare_own_data": Demand(mb=2_000, minutes=15, minutes_per_thousand=6),
    # 0.4 ms per tile to read and hash; 5,000 tiles are compared with 5,000 in 1.3 s; memory is calculated
    "check_folds": Demand(mb=1_000, minutes=10, mb_per_thousand=2, minutes_per_thousand=1),
    # 470 MB; 11 s for 426 tiles; about a hundred values per tile, with copies (calculated)
    "check_targets": Demand(mb=2_000, minutes=10, mb_per_thousand=10, minutes_per_thousand=3),
    # 0.8 GB, and 1.3 GB pinned; 590 GFLOP per tile and view: 10 tiles per second at 6 TFLOP/s (assumed: an old GPU)
    "extract_features": Demand(mb=3_000 + _CUDA_MB, minutes=15, minutes_per_thousand=10, loads_encoder=True),
    # 400 MB; reads 0.8 GB per thousand tiles and view, and computes the features of a sample again
    "check_features": Demand(mb=2_000 + _CUDA_MB, minutes=15, minutes_per_thousand=3, loads_encoder=True),
    # 400 MB, and up to three copies of CLS tokens of 6 kB (calculated); 50 epochs of 162 tiles took 4 s
    "train_organ_head": Demand(mb=1_000 + _CUDA_MB, minutes=15, mb_per_thousand=25, minutes_per_thousand=2),
    # reads the same CLS tokens once
    "evaluate_organ_head": Demand(mb=1_000 + _CUDA_MB, minutes=15, mb_per_thousand=25, minutes_per_thousand=2),
    # 70 MB; 0.4 s for 50,000 tiles
    "gather_families": Demand(mb=1_000, minutes=5, mb_per_thousand=0.2, minutes_per_thousand=0.2),
    # 1.5 GB, streamed; tiles are counted once per step and validation; 12 tiles per second (assumed: an old GPU)
    "train_hovernet": Demand(mb=3_000 + _CUDA_MB, minutes=30, minutes_per_thousand=1.4),
    # as the training, which also has a backward pass (assumed: 36 tiles per second); tiles are counted once per view
    "average_maps": Demand(mb=3_000 + _CUDA_MB, minutes=15, minutes_per_thousand=0.5),
    # without torch; about 0.05 s per tile on one CPU core, and as much for the classical baseline
    "tune_watershed": Demand(mb=2_000, minutes=10, mb_per_thousand=10, minutes_per_thousand=6),
    # 1.1 GB; 0.3 s per tile on one CPU core for the decoder, the upper bound and the baselines
    "evaluate_family": Demand(mb=2_000 + _CUDA_MB, minutes=15, mb_per_thousand=10, minutes_per_thousand=15),
    # 0.9 GB; 0.08 s per tile
    "evaluate_routed": Demand(mb=2_000 + _CUDA_MB, minutes=15, mb_per_thousand=10, minutes_per_thousand=10),
    # as evaluate_family without baselines: every tile twice (by the decoder of its organ and the shared one), and CLS tokens
    "calibrate": Demand(mb=2_000 + _CUDA_MB, minutes=15, mb_per_thousand=25, minutes_per_thousand=10),
    # no maps: CLS tokens of all folds, with copies, and one document for each family and split
    "calibrate_final": Demand(mb=1_000, minutes=10, mb_per_thousand=25, minutes_per_thousand=1),
    # at most 4 GB beside the models whatever the slide; 10 tiles per second (assumed: an old GPU); a job that is stopped by its
    # limit is continued by the next attempt
    "predict_image": Demand(mb=5_000 + _CUDA_MB, minutes=30, minutes_per_thousand=1.7, loads_encoder=True),
    # one thumbnail and one document for each image
    "index_predictions": Demand(mb=1_000, minutes=10),
    # 100 MB; reads one document for each family and split
    "summarize": Demand(mb=1_000, minutes=10),
    # 0.7 GB, when it still loaded models; the rows of every tile (calculated)
    "build_report": Demand(mb=2_000, minutes=30, mb_per_thousand=5, minutes_per_thousand=2),
    # copies and hashes one file of about 6 MB for each decoder (assumed)
    "gather_bundle": Demand(mb=1_000, minutes=10),
}


def memory_mb(step: str, n_tiles: int, attempt: int = 1, *, weights_mb: int = 0, percent: int = 100) -> int:
    """Memory to request, in MB; every attempt requests as much more as the first requested.

    Args:
        n_tiles: Tiles that the step reads.
        weights_mb: Size of the encoder's weights, which only the steps that load the encoder add.
        percent: Percentage to request of all that, as set for a cluster.

    Examples:
        >>> memory_mb("train_hovernet", 5_000), memory_mb("train_hovernet", 5_000, attempt=2)
        (6000, 12000)
    """
    demand = DEMANDS[step]
    weights = _COPIES_OF_WEIGHTS * weights_mb if demand.loads_encoder else 0
    return _grown(demand.mb + weights + demand.mb_per_thousand * n_tiles / 1000, attempt, percent)


def runtime_min(step: str, n_tiles: int, attempt: int = 1, *, percent: int = 100) -> int:
    """Time to request, in minutes; every attempt requests as much more as the first requested.

    Args:
        n_tiles: Tiles that the step reads, each counted once per view (`extract_features`, `average_maps`), step or
            validation (`train_hovernet`).
        percent: Percentage to request of that, as set for a cluster.
    """
    demand = DEMANDS[step]
    return _grown(demand.minutes + demand.minutes_per_thousand * n_tiles / 1000, attempt, percent)


def weights_mb(depth: int, dim: int) -> int:
    """Size of the float32 weights of a ViT: 12 dim^2 in a block (attention 4, MLP 8); 0 for other encoders (assumed small).

    Examples:
        >>> weights_mb(40, 1536)  # H-optimus-0: 1.13 G parameters
        4529
    """
    return 12 * depth * dim**2 * 4 // 1_000_000


def _grown(first: float, attempt: int, percent: int) -> int:
    """Whole units for an attempt, at least one."""
    return max(1, -int(-first * attempt * percent // 100))
