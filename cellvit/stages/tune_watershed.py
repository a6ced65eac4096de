"""Stage `tune_watershed`: a family's decoder on the validation folds -> the watershed of best AJI."""

import argparse
import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from cellvit.config.steps import TuneWatershedSettings
from cellvit.evaluation.measuring import grid_tasks
from cellvit.evaluation.scoring import score_grid
from cellvit.evaluation.systems import check_belongs
from cellvit.evaluation.tuning import border_warnings, grid_of, ranked
from cellvit.formats.checkpoints import CheckpointHeader, read_header
from cellvit.formats.documents import write_document
from cellvit.formats.family import FamilyStore
from cellvit.formats.features import open_family_features
from cellvit.formats.provenance import Provenance, origin_of
from cellvit.formats.tiles import Groups, groups_of, names_at, open_targets
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import METHODS, method_of
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.parallel import workers
from cellvit.inference.progress import reported
from cellvit.inference.segment import parameters_of
from cellvit.models.device import resolve_device

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--settings", type=TuneWatershedSettings.model_validate_json, required=True, help="JSON: grid")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--family", required=True, help="name of the family")
    parser.add_argument("--validate-folds", type=int, nargs="+", required=True, help="folds to tune on")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the family's decoder")
    parser.add_argument("--features", type=Path, required=True, help="the family's features")
    parser.add_argument("--targets", type=Path, required=True, help="the family's targets")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where torch computes")
    parser.add_argument("--threads", type=int, default=1, help="processes that run the watershed")


def run(args: argparse.Namespace) -> None:
    """Write the choice: tuned; the first method's defaults without validation tiles; absent without a decoder."""
    header = read_header(args.checkpoint)
    check_belongs(args.checkpoint, header, args.split, args.family)
    with ExitStack() as stack:
        features = stack.enter_context(open_family_features(args.features))
        targets = stack.enter_context(open_targets(args.targets))
        rows = targets.rows_of_folds(args.validate_folds)
        origin = _origin(args, header, features, targets)
        if header.status == "absent":
            choice = _untuned(args, origin, "").model_copy(update={"status": "absent", "reason": header.reason})
        elif not len(rows):
            choice = _untuned(args, origin, f"no tiles in validation folds {args.validate_folds}")
        else:
            groups = groups_of(names_at(targets, "patient", rows))
            choice = _chosen(args, origin, _aji_of_grid(args, features, targets, rows), groups)
    write_document(args.out, choice)
    for warning in (*choice.warnings, *([choice.reason] if choice.reason else [])):
        log.warning("watershed split=%s family=%s %s", args.split, args.family, warning)
    log.info(
        "watershed split=%s family=%s status=%s method=%s %s",
        args.split,
        args.family,
        choice.status,
        choice.method,
        choice.parameters,
    )


def _aji_of_grid(
    args: argparse.Namespace, features: FamilyStore, targets: FamilyStore, rows: np.ndarray
) -> Float64[np.ndarray, "n p"]:
    grid = grid_of(args.settings.watershed)
    decoder = load_decoder(args.checkpoint, resolve_device(args.device))
    what = f"grid tried points={len(grid)}"
    batches = reported(predict_maps(decoder, features, targets, rows), what, len(rows))
    with workers(args.threads, len(rows) * len(grid)) as pool:
        return np.array(list(pool.map(partial(score_grid, grid), grid_tasks(batches))))


def _chosen(
    args: argparse.Namespace, origin: Provenance, aji: Float64[np.ndarray, "n p"], groups: Groups
) -> WatershedChoice:
    settings = args.settings.watershed
    points = ranked(grid_of(settings), aji, seed=args.settings.seed, groups=groups)
    best, figure = points[0][0], points[0][1].aji
    if not figure.n:
        return _untuned(args, origin, "no validation tile has a nucleus in truth or prediction")
    return WatershedChoice(
        provenance=origin,
        split=args.split,
        family=args.family,
        status="tuned",
        method=method_of(best),
        parameters=parameters_of(best),
        grid=tuple(point for _, point in points),
        warnings=border_warnings(best, settings) if settings.warn_at_border else (),
    )


def _untuned(args: argparse.Namespace, origin: Provenance, cause: str) -> WatershedChoice:
    method = args.settings.watershed.method[0]
    return WatershedChoice(
        provenance=origin,
        split=args.split,
        family=args.family,
        status="default",
        reason=f"{cause}; {method}, the first method of the settings, is used with its default parameters",
        method=method,
        parameters=parameters_of(METHODS[method]()),
    )


def _origin(
    args: argparse.Namespace, header: CheckpointHeader, features: FamilyStore, targets: FamilyStore
) -> Provenance:
    return origin_of(
        families={"features": features, "targets": targets},
        folds=args.validate_folds,
        documents={"checkpoint": (args.checkpoint, header)},
        settings={**args.settings.model_dump(mode="json"), "validate_folds": args.validate_folds},
    )
