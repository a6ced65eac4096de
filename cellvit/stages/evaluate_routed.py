"""Stage `evaluate_routed`: all test tiles, each decoded by the family of its predicted organ -> figures."""

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from cellvit.config.paired import check_paired
from cellvit.config.steps import EvaluateRoutedSettings
from cellvit.errors import MissingInputError
from cellvit.evaluation.measuring import judge_maps
from cellvit.evaluation.routing import (
    Routes,
    in_organ_order,
    organ_confusion,
    organ_values,
    routes_of,
    routing_accuracy,
)
from cellvit.evaluation.scoring import COLUMNS
from cellvit.evaluation.systems import DecoderFiles, check_belongs, check_unseen, findings
from cellvit.formats.checkpoints import CheckpointHeader, read_header
from cellvit.formats.digests import check_table, sha256_of
from cellvit.formats.documents import Document, read_document, write_document
from cellvit.formats.evaluations import FamilyEvaluation, RoutedEvaluation
from cellvit.formats.features import open_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.provenance import Provenance, origin_of
from cellvit.formats.tile_table import TileScores, read_tile_scores, write_tile_scores
from cellvit.formats.tiles import groups_of, open_tiles
from cellvit.formats.watershed import WatershedChoice
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.organs import load_organ_head, predict_organs
from cellvit.inference.parallel import Workers, workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.progress import reported
from cellvit.models.device import resolve_device
from cellvit.taxonomy import SHARED_FAMILY

log = logging.getLogger(__name__)

_CLS_BLOCK = 512
"""CLS tokens a forward pass of OrganHead: 3 MB at 1536 values."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--settings", type=EvaluateRoutedSettings.model_validate_json, required=True, help="JSON")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--test-folds", type=int, nargs="+", required=True, help="folds to judge on")
    parser.add_argument("--features", type=Path, nargs="+", required=True, help="feature stores, one a test fold")
    parser.add_argument("--tiles", type=Path, nargs="+", required=True, help="tile stores, one a test fold")
    parser.add_argument("--organ-head", type=Path, required=True, help="checkpoint of OrganHead")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="decoders, one a family")
    parser.add_argument("--watersheds", type=Path, nargs="+", required=True, help="their watershed parameters")
    parser.add_argument("--family-tiles", type=Path, nargs="+", required=True, help="CSVs of evaluate_family")
    parser.add_argument(
        "--family-evaluations", type=Path, nargs="+", required=True, help="its JSONs, in the same order"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--tiles-csv", type=Path, required=True, help="CSV to write: measurements of every tile")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where torch computes")
    parser.add_argument("--threads", type=int, default=1, help="processes that segment and score")


@dataclass(frozen=True, slots=True)
class _Fold:
    """Stores of a test fold: row by row the same tiles."""

    features: Store
    tiles: Store


def run(args: argparse.Namespace) -> None:
    """Write figures and measurements; without OrganHead, decoders or tiles a document that says so."""
    check_paired(args, "test_folds", "features", "tiles")
    check_paired(args, "family_tiles", "family_evaluations")
    models = _models(args)
    organ_head = read_header(args.organ_head)
    with ExitStack() as stack:
        folds = [
            _Fold(stack.enter_context(open_features(features)), stack.enter_context(open_tiles(tiles)))
            for features, tiles in zip(args.features, args.tiles, strict=True)
        ]
        origin = _origin(args, organ_head, models, folds)
        trained = {family: model for family, model in models.items() if model.header.status == "trained"}
        reason = _why_absent(organ_head, trained, folds)
        if reason:
            judged: dict[str, TileScores] = {}
            evaluation = _absent(args, origin, reason, sum(len(fold.tiles) for fold in folds))
        else:
            evaluation, judged = _evaluated(args, origin, trained, folds)
    write_tile_scores(args.tiles_csv, judged, COLUMNS)
    tables = {"tiles": sha256_of(args.tiles_csv)}
    write_document(args.out, evaluation.model_copy(update={"tables": tables}))
    _log(evaluation)


def _models(args: argparse.Namespace) -> dict[str, DecoderFiles]:
    """Decoders of the families in use, by family; the control for all organs is none of them."""
    choices = {}
    for path in args.watersheds:
        choice = read_document(path, WatershedChoice)
        choices[choice.family] = (path, choice)
    models = {}
    for path in args.checkpoints:
        header = read_header(path)
        if header.family == SHARED_FAMILY:
            continue
        check_belongs(path, header, args.split, header.family)
        check_unseen(path, header, args.test_folds)
        if header.family not in choices:
            raise MissingInputError(
                f"--watersheds: none is that of {path}, family {header.family}; found {', '.join(choices)}. "
                f"Make it and give it: snakemake -- {args.watersheds[0].with_name(f'{header.family}.json')}"
            )
        models[header.family] = DecoderFiles(path, header, *choices[header.family])
    return models


def _why_absent(organ_head: CheckpointHeader, trained: Mapping[str, DecoderFiles], folds: Sequence[_Fold]) -> str:
    if organ_head.status == "absent":
        return f"no OrganHead: {organ_head.reason}"
    if not trained:
        return "no family has a decoder"
    return "" if any(len(fold.tiles) for fold in folds) else "no test tiles"


def _evaluated(
    args: argparse.Namespace, origin: Provenance, trained: Mapping[str, DecoderFiles], folds: Sequence[_Fold]
) -> tuple[RoutedEvaluation, dict[str, TileScores]]:
    seed = args.settings.seed
    probabilities = _probabilities(args, folds)
    organs, patients = (_names(folds, column) for column in ("organ", "patient"))
    routes = routes_of(probabilities, organs, args.settings.families, tuple(trained))
    judged = _known(args.family_tiles, args.family_evaluations)
    judged = {"routed": _routed(args, trained, folds, routes, judged["known"]), **judged}
    found = findings(judged, "routed", seed=seed)
    names, confusion = organ_confusion(probabilities, organs)
    groups = groups_of(patients)
    accuracy = {"routing_accuracy": routing_accuracy(routes, seed=seed, groups=groups)}
    evaluation = RoutedEvaluation(
        provenance=origin,
        split=args.split,
        status="evaluated",
        n_tiles=len(judged["routed"]),
        n_patients=judged["routed"].n_patients,
        n_tiles_without_patient=judged["routed"].n_tiles_without_patient,
        systems=found.systems,
        organs=found.organs,
        organ_head=organ_values(probabilities, organs, seed=seed, groups=groups) | accuracy,
        organ_names=names,
        confusion=confusion,
        left_out=routes.left_out,
        differences=found.differences,
    )
    return evaluation, judged


def _names(folds: Sequence[_Fold], column: str) -> tuple[str, ...]:
    """A column of names of all test tiles, in the order of the folds."""
    return tuple(chain.from_iterable(fold.tiles.names(column) for fold in folds))


def _known(tables: Sequence[Path], evaluations: Sequence[Path]) -> dict[str, TileScores]:
    """What evaluate_family measured, all families together, by system; `known` is each family's own decoder."""
    judged = {"known": TileScores.none(COLUMNS)}
    for path, evaluation in zip(tables, evaluations, strict=True):
        check_table(path, read_document(evaluation, FamilyEvaluation).tables, "tiles")
        for system, tiles in read_tile_scores(path, COLUMNS).items():
            name = "known" if system == "decoder" else system
            judged[name] = judged.get(name, TileScores.none(COLUMNS)) + tiles
    return judged


def _routed(
    args: argparse.Namespace,
    trained: Mapping[str, DecoderFiles],
    folds: Sequence[_Fold],
    routes: Routes,
    known: TileScores,
) -> TileScores:
    """Measurements of every tile by the decoder it is sent to; where that is its own, evaluate_family has them."""
    first_rows = np.cumsum([0, *(len(fold.tiles) for fold in folds)])
    tile_ids = _names(folds, "tile_id")
    sent_to = dict(zip(tile_ids, routes.family, strict=True))
    own = np.array(
        [sent_to.get(tile) == family for tile, family in zip(known.tile_id, known.family, strict=True)], bool
    )
    judged = known.where(own)
    done = set(judged.tile_id)
    with workers(args.threads, sum(bool(family) for family in routes.family) - len(done)) as pool:
        for family, model in trained.items():
            wanted = [row for row, tile in enumerate(tile_ids) if routes.family[row] == family and tile not in done]
            log.info("routed family=%s known_tiles=%d other_tiles=%d", family, routes.family.count(family), len(wanted))
            judged += _decoded(args, model, folds, first_rows, np.array(wanted, np.int64), pool)
    return judged


def _decoded(
    args: argparse.Namespace,
    model: DecoderFiles,
    folds: Sequence[_Fold],
    first_rows: np.ndarray,
    wanted: np.ndarray,
    pool: Workers,
) -> TileScores:
    if not len(wanted):
        return TileScores.none(COLUMNS)
    decoder = load_decoder(model.path, resolve_device(args.device))

    def batches() -> Iterator[MapBatch]:
        for fold, first, last in zip(folds, first_rows, first_rows[1:], strict=False):
            rows = wanted[(wanted >= first) & (wanted < last)] - first
            yield from predict_maps(decoder, fold.features, fold.tiles, rows)

    family = model.header.family
    decoded = reported(batches(), f"judged system=routed family={family}", len(wanted))
    return judge_maps(decoded, model.watershed, family=family, pool=pool)


def _probabilities(args: argparse.Namespace, folds: Sequence[_Fold]) -> Float64[np.ndarray, "n 19"]:
    """Probability of every organ for every test tile, in the order of the folds."""
    head = load_organ_head(args.organ_head, resolve_device(args.device))
    found = [predict_organs(head, fold.features, rows) for fold in folds for rows in fold.features.blocks(_CLS_BLOCK)]
    return in_organ_order(np.concatenate(found), head.header.organs)


def _absent(args: argparse.Namespace, origin: Provenance, reason: str, n_tiles: int) -> RoutedEvaluation:
    return RoutedEvaluation(provenance=origin, split=args.split, status="absent", reason=reason, n_tiles=n_tiles)


def _origin(
    args: argparse.Namespace, organ_head: CheckpointHeader, models: Mapping[str, DecoderFiles], folds: Sequence[_Fold]
) -> Provenance:
    stores: dict[str, Store] = {}
    for number, fold in zip(args.test_folds, folds, strict=True):
        stores |= {f"features_fold{number}": fold.features, f"tiles_fold{number}": fold.tiles}
    documents: dict[str, tuple[Path, Document]] = {"organ_head": (args.organ_head, organ_head)}
    for family, model in models.items():
        documents[f"{family}_checkpoint"] = (model.path, model.header)
        documents[f"{family}_watershed"] = (model.watershed_path, model.choice)
    settings = {**args.settings.model_dump(mode="json"), "test_folds": args.test_folds}
    tables = {path.stem: path for path in args.family_tiles}
    return origin_of(stores=stores, documents=documents, tables=tables, settings=settings)


def _log(evaluation: RoutedEvaluation) -> None:
    if evaluation.status == "absent":
        log.warning("routed split=%s absent: %s", evaluation.split, evaluation.reason)
        return
    for reason, count in evaluation.left_out.items():
        log.warning("routed split=%s left_out=%d: %s", evaluation.split, count, reason)
    figures = {name: evaluation.systems["routed"][name].value for name in ("aji", "bpq", "mpq")}
    shown = " ".join(f"{name}={value:.4f}" for name, value in figures.items())
    accuracy = evaluation.organ_head["accuracy"].value
    log.info("routed split=%s tiles=%d organ_accuracy=%.4f %s", evaluation.split, evaluation.n_tiles, accuracy, shown)
