"""What each step asks of a scheduler: memory and time, from the number of tiles and the attempt.

Imports nothing: the head and every job read this with the Snakefile. Values are measured peaks (docs/resources.md,
docs/scale.md, timings/ of the real tiles on two CPU cores) with a third to a half on top, rounded up; where something
was only counted or assumed, the line says so. A cluster that differs is told by percent, or by set-resources of a profile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PANNUKE_FOLD_TILES: Final = 2722
"""Tiles of PanNuke's largest fold (2,656, 2,523 and 2,722): the guess for a fold that is not there yet."""

_CUDA_MB: Final = 3_000
"""Host memory of a process that loaded CUDA (docs/resources.md)."""

_COPIES_OF_WEIGHTS: Final = 2
"""The file as it is read, beside the model that it goes into: the largest moment of a run (docs/resources.md)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a step asks for.

    Attributes:
        mb: Memory with no tile at all.
        mb_per_thousand: More of it for every thousand tiles.
        minutes: Time to start, load and write.
        minutes_per_thousand: More of it for every thousand tiles.
        loads_encoder: Whether the weights of the encoder come on top of `mb`.
    """

    mb: int
    minutes: int
    mb_per_thousand: float = 0
    minutes_per_thousand: float = 0
    loads_encoder: bool = False


DEMANDS: Final[Mapping[str, Demand]] = {
    # 270 MB, and 0.15 s a tile
    "simulate_pannuke": Demand(mb=1_000, minutes=10, minutes_per_thousand=5),
    # 300 MB for 162 tiles as for 2,700, which took 90 s; a network disk may be ten times as slow
    "prepare_fold": Demand(mb=1_000, minutes=15, minutes_per_thousand=6),
    # 0.8 GB, and 1.3 GB pinned. 590 GFLOP a tile and view: 1 s for ten at 6 TFLOP/s, which is assumed of an old card
    "extract_features": Demand(mb=3_000 + _CUDA_MB, minutes=15, minutes_per_thousand=10, loads_encoder=True),
    # 56 bytes a tile (hashes), counted
    "join_shards": Demand(mb=1_000, minutes=5, mb_per_thousand=0.2, minutes_per_thousand=0.2),
    # 400 MB; reads 0.8 GB a thousand tiles and view, and computes a sample anew
    "check_features": Demand(mb=2_000 + _CUDA_MB, minutes=15, minutes_per_thousand=3, loads_encoder=True),
    # 400 MB, and CLS tokens of 6 kB with up to three copies, counted; 50 epochs of 162 tiles in 4 s
    "train_organ_head": Demand(mb=1_000 + _CUDA_MB, minutes=15, mb_per_thousand=25, minutes_per_thousand=2),
    # 70 MB; 0.4 s for 50,000 tiles
    "gather_family": Demand(mb=1_000, minutes=5, mb_per_thousand=0.2, minutes_per_thousand=0.2),
    # 470 MB; 11 s for 426 tiles; a row of about a hundred figures a tile, with copies, counted
    "check_targets": Demand(mb=2_000, minutes=10, mb_per_thousand=10, minutes_per_thousand=3),
    # 1.5 GB, streamed. Tiles are counted once an epoch; 12 a second are assumed of an old card
    "train_hovernet": Demand(mb=3_000 + _CUDA_MB, minutes=30, minutes_per_thousand=1.4),
    # copies a file of a few MB and hashes it
    "publish_checkpoint": Demand(mb=1_000, minutes=5),
    # 0.9 GB; 0.4 s a tile for a grid of 117 points on one core, whatever the card
    "tune_watershed": Demand(mb=2_000 + _CUDA_MB, minutes=15, mb_per_thousand=10, minutes_per_thousand=15),
    # 1.1 GB; 0.3 s a tile on one core for the decoder, the oracle and the baselines
    "evaluate_family": Demand(mb=2_000 + _CUDA_MB, minutes=15, mb_per_thousand=10, minutes_per_thousand=15),
    # 0.9 GB; 0.08 s a tile
    "evaluate_routed": Demand(mb=2_000 + _CUDA_MB, minutes=15, mb_per_thousand=10, minutes_per_thousand=10),
    # 100 MB; reads one document a family and split
    "summarize": Demand(mb=1_000, minutes=10),
    # 0.7 GB; the rows of every tile, counted
    "build_report": Demand(mb=2_000 + _CUDA_MB, minutes=30, mb_per_thousand=5, minutes_per_thousand=2),
}


def memory_mb(step: str, n_tiles: int, attempt: int = 1, *, weights_mb: int = 0, percent: int = 100) -> int:
    """Memory to ask for, in MB; every attempt asks for as much again as the first.

    Args:
        n_tiles: Tiles that the step reads.
        weights_mb: Weights of the encoder, which only steps that load it count.
        percent: Share of it all; what a cluster says of itself.

    Examples:
        >>> memory_mb("train_hovernet", 5_000), memory_mb("train_hovernet", 5_000, attempt=2)
        (6000, 12000)
    """
    demand = DEMANDS[step]
    weights = _COPIES_OF_WEIGHTS * weights_mb if demand.loads_encoder else 0
    return _grown(demand.mb + weights + demand.mb_per_thousand * n_tiles / 1000, attempt, percent)


def runtime_min(step: str, n_tiles: int, attempt: int = 1, *, percent: int = 100) -> int:
    """Time to ask for, in minutes; every attempt asks for as much again as the first.

    Args:
        n_tiles: Tiles that the step reads, each as often as it is read: once a view (`extract_features`), an epoch
            (`train_hovernet`).
        percent: Share of it all; what a cluster says of itself.
    """
    demand = DEMANDS[step]
    return _grown(demand.minutes + demand.minutes_per_thousand * n_tiles / 1000, attempt, percent)


def weights_mb(depth: int, dim: int) -> int:
    """Size of a ViT's float32 weights: 12 dim^2 a block (attention 4, MLP 8).

    Examples:
        >>> weights_mb(40, 1536)  # H-optimus-0: 1.13 G parameters
        4529
    """
    return 12 * depth * dim**2 * 4 // 1_000_000


def _grown(first: float, attempt: int, percent: int) -> int:
    """Whole units for an attempt, never none."""
    return max(1, -int(-first * attempt * percent // 100))
