"""Stage `check_targets`: one family's targets -> their checks and the oracle, or a stop where figures would be wrong."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from cellvit.config.evaluation import IntegrityGates
from cellvit.evaluation.measuring import judge_maps, perfect_maps
from cellvit.evaluation.target_checks import (
    checked_hv,
    checks_of,
    coverage,
    nuclei_by_class,
    oracle_figures,
    tiles_by_fold,
    tiles_by_organ,
    true_magnitude,
)
from cellvit.formats.documents import write_document
from cellvit.formats.family import FamilyStore
from cellvit.formats.provenance import origin_of
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import TargetCheck, open_targets, read_tiles
from cellvit.hover.decode import METHODS
from cellvit.inference.parallel import workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.progress import reported

log = logging.getLogger(__name__)

_BLOCK_TILES = 16
"""Tiles in memory at a time: 16 with their maps are about 60 MB."""

_SEED = 0
"""Seed of the bootstrap; the intervals of the oracle only show its spread."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--settings", type=IntegrityGates.model_validate_json, required=True, help="JSON: gates")
    parser.add_argument("--family", required=True, help="name of the family")
    parser.add_argument("--targets", type=Path, required=True, help="the family's targets")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--threads", type=int, default=1, help="processes that run the watershed")


def run(args: argparse.Namespace) -> None:
    """Write what holds for the targets; a check that fails raises IntegrityError, and no file appears."""
    with open_targets(args.targets) as targets, workers(args.threads, len(targets)) as pool:
        oracles: dict[str, TileScores] = {
            method: judge_maps(_perfect_maps(targets, method), defaults(), family=args.family, pool=pool)
            for method, defaults in METHODS.items()
        }
        document = _document(args, targets, oracles)
    write_document(args.out, document)
    if not document.n_nuclei:
        log.warning("family=%s has no nucleus in %d tiles; nothing to check", args.family, document.n_tiles)
    log.info(
        "targets family=%s tiles=%d nuclei=%d coverage=%.4f %s",
        args.family,
        document.n_tiles,
        document.n_nuclei,
        document.coverage,
        " ".join(f"oracle_aji_{method}={found['aji'].value:.4f}" for method, found in document.oracle.items()),
    )


def _perfect_maps(targets: FamilyStore, method: str) -> Iterator[MapBatch]:
    maps = (checked_hv(perfect_maps(read_tiles(targets, rows))) for rows in targets.blocks(_BLOCK_TILES))
    return reported(maps, f"oracle judged method={method}", len(targets))


def _document(args: argparse.Namespace, targets: FamilyStore, oracles: dict[str, TileScores]) -> TargetCheck:
    figures = {method: oracle_figures(oracle, seed=_SEED) for method, oracle in oracles.items()}
    oracle = oracles["hovernet"]  # what does not depend on the method
    settings = {"gates": args.settings.model_dump(mode="json"), "seed": _SEED}
    return TargetCheck(
        provenance=origin_of(families={"targets": targets}, folds=targets.folds, settings=settings),
        family=args.family,
        n_tiles=len(oracle),
        n_nuclei=int(oracle.column("n_true").sum()),
        tiles_by_fold=tiles_by_fold(oracle),
        tiles_by_organ=tiles_by_organ(oracle),
        nuclei_by_class=nuclei_by_class(oracle),
        coverage=coverage(oracle),
        hv_magnitude=true_magnitude(oracle),
        oracle=figures,
        checks=checks_of(args.family, oracle, figures, args.settings),
    )
