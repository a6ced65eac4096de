"""Stage `simulate_pannuke`: seed -> PanNuke folds in the official layout, marked as simulated."""

import argparse
import logging
from pathlib import Path

from cellvit.config.data import SimulatedData
from cellvit.data.simulate.fold import write_fold

log = logging.getLogger(__name__)

_PROGRESS_TILES = 50
"""Tiles between two lines of progress in the log: about 3 s."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--settings", type=SimulatedData.model_validate_json, required=True, help="JSON: tiles_per_fold, seed"
    )
    parser.add_argument("--root", type=Path, required=True, help='folder in which "Fold N" is written')
    parser.add_argument("--fold", type=int, required=True, help="number of the fold")


def run(args: argparse.Namespace) -> None:
    """Write one simulated fold with its mark."""
    tiles = args.settings.tiles_per_fold

    def progress(made: int) -> None:
        if made % _PROGRESS_TILES == 0:
            log.info("simulated fold=%d tiles=%d/%d", args.fold, made, tiles)

    write_fold(args.root, args.fold, tiles_per_fold=tiles, seed=args.settings.seed, progress=progress)
    log.info("written fold=%d tiles=%d seed=%d root=%s", args.fold, tiles, args.settings.seed, args.root)
