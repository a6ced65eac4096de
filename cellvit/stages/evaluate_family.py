"""Stage `evaluate_family`: a family's decoder and its baselines on the test folds, organ known -> figures."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellvit.config.settings import Device
from cellvit.config.steps import EvaluateSettings
from cellvit.evaluation.map_sums import sums_of_all
from cellvit.evaluation.measuring import judge_classical, judge_maps, judge_oracle
from cellvit.evaluation.scoring import COLUMNS
from cellvit.evaluation.systems import DecoderFiles, check_belongs, check_unseen, findings, map_sums_of
from cellvit.evaluation.values import gaps, majority_class, map_values
from cellvit.formats.checkpoints import read_header
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import Document, read_document, write_document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.family import FamilyStore
from cellvit.formats.features import open_family_features
from cellvit.formats.provenance import Provenance, origin_of
from cellvit.formats.tile_table import TileScores, write_tile_scores
from cellvit.formats.tiles import TileBatch, groups_of, names_at, open_targets, read_tiles
from cellvit.formats.watershed import WatershedChoice
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.parallel import workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.progress import reported
from cellvit.metrics.maps import MapSums
from cellvit.models.device import resolve_device
from cellvit.taxonomy import SHARED_FAMILY

log = logging.getLogger(__name__)

_BLOCK_TILES = 16
"""Tiles in memory at a time for the systems without a network: about 60 MB with perfect maps."""

_SYSTEMS = 4
"""Systems that segment every test tile: decoder, pooled, classical, oracle."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--settings", type=EvaluateSettings.model_validate_json, required=True, help="JSON: seed")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--family", required=True, help="name of the family")
    parser.add_argument("--train-folds", type=int, nargs="+", required=True, help="folds that trained the decoder")
    parser.add_argument("--test-folds", type=int, nargs="+", required=True, help="folds to judge on")
    parser.add_argument("--features", type=Path, required=True, help="the family's features")
    parser.add_argument("--targets", type=Path, required=True, help="the family's targets")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the family's decoder")
    parser.add_argument("--watershed", type=Path, required=True, help="the decoder's watershed parameters")
    parser.add_argument("--pooled-checkpoint", type=Path, help="the decoder for all organs, to compare with")
    parser.add_argument("--pooled-watershed", type=Path, help="its watershed parameters")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--tiles-csv", type=Path, required=True, help="CSV to write: measurements of every tile")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where torch computes")
    parser.add_argument("--threads", type=int, default=1, help="processes that segment and score")


@dataclass(frozen=True, slots=True)
class _Data:
    """The family's stores, and the rows of its test and training tiles."""

    features: FamilyStore
    targets: FamilyStore
    test: np.ndarray
    train: np.ndarray

    def predicted(self, path: Path, rows: np.ndarray, device: Device, *, what: str) -> Iterator[MapBatch]:
        decoder = load_decoder(path, resolve_device(device))
        yield from reported(predict_maps(decoder, self.features, self.targets, rows), what, len(rows))

    def blocks_to_judge(self, *, what: str) -> Iterator[TileBatch]:
        blocks = (self.test[start : start + _BLOCK_TILES] for start in range(0, len(self.test), _BLOCK_TILES))
        return reported((read_tiles(self.targets, rows) for rows in blocks), what, len(self.test))


@dataclass(frozen=True, slots=True)
class _Train:
    """The decoder's maps on its own training tiles, and the patient of each tile."""

    sums: MapSums
    patient: tuple[str, ...]


def run(args: argparse.Namespace) -> None:
    """Write figures and measurements; a family without decoder or test tiles gets a document that says so."""
    model = _model(args.checkpoint, args.watershed, args.split, args.family)
    pooled = _pooled(args)
    with ExitStack() as stack:
        features = stack.enter_context(open_family_features(args.features))
        targets = stack.enter_context(open_targets(args.targets))
        data = _Data(features, targets, targets.rows_of_folds(args.test_folds), targets.rows_of_folds(args.train_folds))
        origin = _origin(args, data, [found for found in (model, pooled) if found])
        reason = _why_absent(args, model, data)
        if reason:
            judged: dict[str, TileScores] = {}
            evaluation = _absent(args, origin, reason, len(data.test))
        else:
            check_unseen(model.path, model.header, args.test_folds)
            sums = sums_of_all(data.predicted(model.path, data.train, args.device, what="mapped training"))
            train = _Train(sums, names_at(targets, "patient", data.train))
            judged = _judged(args, data, model, pooled, majority_class(sums))
            evaluation = _evaluation(args, origin, judged, train)
    write_tile_scores(args.tiles_csv, judged, COLUMNS)
    tables = {"tiles": sha256_of(args.tiles_csv)}
    write_document(args.out, evaluation.model_copy(update={"tables": tables}))
    _log(evaluation)


def _model(checkpoint: Path, watershed: Path, split: str, family: str) -> DecoderFiles:
    model = DecoderFiles(checkpoint, read_header(checkpoint), watershed, read_document(watershed, WatershedChoice))
    check_belongs(checkpoint, model.header, split, family)
    check_belongs(watershed, model.choice, split, family)
    return model


def _pooled(args: argparse.Namespace) -> DecoderFiles | None:
    """The decoder for all organs; None where it is not asked for or could not be trained."""
    if args.pooled_checkpoint is None or args.pooled_watershed is None:
        return None
    model = _model(args.pooled_checkpoint, args.pooled_watershed, args.split, SHARED_FAMILY)
    if model.header.status == "absent":
        log.warning("split=%s has no decoder for all organs: %s", args.split, model.header.reason)
        return None
    check_unseen(model.path, model.header, args.test_folds)
    return model


def _why_absent(args: argparse.Namespace, model: DecoderFiles, data: _Data) -> str:
    if model.header.status == "absent":
        return model.header.reason
    return "" if len(data.test) else f"no tiles in test folds {args.test_folds}"


def _judged(
    args: argparse.Namespace, data: _Data, model: DecoderFiles, pooled: DecoderFiles | None, majority: int
) -> dict[str, TileScores]:
    """Measurements of every system on the test tiles; the oracle uses the decoder's watershed."""
    family, watershed = args.family, model.watershed
    with workers(args.threads, _SYSTEMS * len(data.test)) as pool:
        batches = data.predicted(model.path, data.test, args.device, what="judged system=decoder")
        judged = {"decoder": judge_maps(batches, watershed, family=family, pool=pool)}
        if pooled is not None:
            batches = data.predicted(pooled.path, data.test, args.device, what="judged system=pooled")
            judged["pooled"] = judge_maps(batches, pooled.watershed, family=SHARED_FAMILY, pool=pool)
        blocks = data.blocks_to_judge(what="judged system=classical")
        judged["classical"] = judge_classical(blocks, majority, family=family, pool=pool)
        blocks = data.blocks_to_judge(what="judged system=oracle")
        judged["oracle"] = judge_oracle(blocks, watershed, family=family, pool=pool)
    return judged


def _evaluation(
    args: argparse.Namespace, origin: Provenance, judged: dict[str, TileScores], train: _Train
) -> FamilyEvaluation:
    seed, own = args.settings.seed, judged["decoder"]
    found = findings(judged, "decoder", seed=seed)
    return FamilyEvaluation(
        provenance=origin,
        split=args.split,
        family=args.family,
        status="evaluated",
        n_tiles=len(own),
        n_patients=own.n_patients,
        n_tiles_without_patient=own.n_tiles_without_patient,
        n_patients_trained_on=len((set(own.patient) & set(train.patient)) - {""}),
        n_nuclei=int(own.column("n_true").sum()),
        systems=found.systems,
        organs=found.organs,
        train=map_values(train.sums, seed=seed, groups=groups_of(train.patient)),
        gaps=gaps(train.sums, map_sums_of(own), seed=seed, groups=groups_of(train.patient + own.patient)),
        differences=found.differences,
    )


def _absent(args: argparse.Namespace, origin: Provenance, reason: str, n_tiles: int) -> FamilyEvaluation:
    return FamilyEvaluation(
        provenance=origin, split=args.split, family=args.family, status="absent", reason=reason, n_tiles=n_tiles
    )


def _origin(args: argparse.Namespace, data: _Data, models: list[DecoderFiles]) -> Provenance:
    documents: dict[str, tuple[Path, Document]] = {}
    for name, model in zip(("", "pooled_"), models, strict=False):
        documents[f"{name}checkpoint"] = (model.path, model.header)
        documents[f"{name}watershed"] = (model.watershed_path, model.choice)
    return origin_of(
        families={"features": data.features, "targets": data.targets},
        folds=[*args.train_folds, *args.test_folds],
        documents=documents,
        settings={
            **args.settings.model_dump(mode="json"),
            "train_folds": args.train_folds,
            "test_folds": args.test_folds,
        },
    )


def _log(evaluation: FamilyEvaluation) -> None:
    where = f"split={evaluation.split} family={evaluation.family}"
    if evaluation.status == "absent":
        log.warning("evaluation %s absent: %s", where, evaluation.reason)
        return
    for system, figures in evaluation.systems.items():
        shown = " ".join(
            f"{name}={figures[name].value:.4f}" for name in ("aji", "bpq", "mpq", "np_dice") if name in figures
        )
        log.info("evaluation %s system=%s tiles=%d %s", where, system, evaluation.n_tiles, shown)
