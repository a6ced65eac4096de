"""Stage `simulate_pannuke`: seed -> PanNuke folds in the official layout, marked as simulated."""

import argparse
import logging
from pathlib import Path

from cellvit.config.data import SimulatedData
from cellvit.data.simulate.fold import write_fold
from cellvit.inference.progress import Progress

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--settings", type=SimulatedData.model_validate_json, required=True, help="JSON: tiles_per_fold, seed"
    )
    parser.add_argument("--root", type=Path, required=True, help='folder in which "Fold N" is written')
    parser.add_argument("--fold", type=int, required=True, help="number of the fold")


def run(args: argparse.Namespace) -> None:
    """Write one simulated fold with its mark."""
    tiles, seed = args.settings.tiles_per_fold, args.settings.seed
    with Progress(f"simulated fold={args.fold}", tiles) as progress:
        write_fold(args.root, args.fold, tiles_per_fold=tiles, seed=seed, progress=lambda _: progress.add())
    log.info("written fold=%d tiles=%d seed=%d root=%s", args.fold, tiles, seed, args.root)
