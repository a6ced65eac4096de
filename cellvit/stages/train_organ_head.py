"""Stage `train_organ_head`: CLS tokens of a split's folds -> OrganHead, its history and its figures on the test folds."""

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from cellvit.config.paired import check_paired
from cellvit.config.settings import Device
from cellvit.config.steps import TrainOrganHeadSettings
from cellvit.errors import ContractError
from cellvit.evaluation.routing import organ_confusion, organ_numbers, organ_values
from cellvit.formats.atomic import replacing_together
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import Value, write_document
from cellvit.formats.evaluations import OrganHeadEvaluation
from cellvit.formats.features import check_extracted_from, open_features
from cellvit.formats.hdf5 import Store
from cellvit.formats.history import ORGAN_HEAD_HISTORY, EpochRecord, write_history
from cellvit.formats.provenance import Provenance, origin_of
from cellvit.formats.tiles import Groups, groups_of, n_patients, names_at, open_tiles
from cellvit.formats.training_state import Weights, resuming
from cellvit.inference.blocks import encoder_record
from cellvit.inference.organs import organ_probabilities, read_cls
from cellvit.metrics.intervals import bootstrap_mean
from cellvit.models.device import resolve_device
from cellvit.taxonomy import ORGANS, TILE_MPP
from cellvit.training.identity import identity_of
from cellvit.training.organ_head import FittedOrganHead, OrganTiles, fit_organ_head
from cellvit.workflow.fingerprint import code_fingerprint

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input, output and params."""
    parser.add_argument("--settings", type=TrainOrganHeadSettings.model_validate_json, required=True, help="JSON")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--train-folds", type=int, nargs="+", required=True, help="folds that train")
    parser.add_argument("--validate-folds", type=int, nargs="+", required=True, help="folds that choose and calibrate")
    parser.add_argument("--test-folds", type=int, nargs="+", required=True, help="folds that judge")
    parser.add_argument("--tiles", type=Path, nargs="+", required=True, help="tile stores of all these folds")
    parser.add_argument(
        "--features", type=Path, nargs="+", required=True, help="their feature stores, in the same order"
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--history", type=Path, required=True, help="CSV to write: a row an epoch")
    parser.add_argument("--evaluation", type=Path, required=True, help="JSON to write: figures on the test folds")
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the header")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where torch computes")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")


def run(args: argparse.Namespace) -> None:
    """Write checkpoint, history and evaluation; without training tiles all three say so.

    What an earlier run of the same training left unfinished is gone on from.
    """
    torch.set_num_threads(args.threads)
    check_paired(args, "tiles", "features")
    with ExitStack() as stack:
        tiles = [stack.enter_context(open_tiles(path)) for path in args.tiles]
        features = [stack.enter_context(open_features(path)) for path in args.features]
        _check_pairs(tiles, features)
        origin = _origin(args, tiles, features)
        train, validate, test = (
            _tiles_of(folds, tiles, features) for folds in (args.train_folds, args.validate_folds, args.test_folds)
        )
        header = _header(args, origin, features[0], {"train": len(train), "validate": len(validate)})
    if not len(train):
        _write_absent(args, header, len(test))
        return
    _warn_unknown("validate", validate.unknown_to(train))
    _warn_unknown("test", test.unknown_to(train))
    device = resolve_device(args.device)
    settings: TrainOrganHeadSettings = args.settings
    with resuming(args.checkpoint, _identity(args, header, device)) as states:
        fitted = fit_organ_head(train, validate, settings.organ_head, seed=settings.seed, device=device, states=states)
        evaluation = _evaluation(args, origin, fitted, test, train, device)
        _write_trained(args, header, fitted, evaluation)
    shown = " ".join(f"{name}={figure.value:.4f}" for name, figure in evaluation.figures.items())
    log.info("organ head split=%s status=%s n=%d %s", args.split, evaluation.status, evaluation.n_tiles, shown)


def fold_of(tile_id: str) -> int:
    """Number of the fold in a tile's id.

    Examples:
        >>> fold_of("f12-00034")
        12
    """
    return int(tile_id[1:].partition("-")[0])


def _check_pairs(tiles: Sequence[Store], features: Sequence[Store]) -> None:
    for tile_store, feature_store in zip(tiles, features, strict=True):
        check_extracted_from(tile_store, feature_store)
        if encoder_record(feature_store) != encoder_record(features[0]):
            raise ContractError(
                f"{features[0].path} and {feature_store.path} were extracted with different settings. "
                "Re-extract both:  snakemake --forcerun extract_features"
            )


def _origin(args: argparse.Namespace, tiles: Sequence[Store], features: Sequence[Store]) -> Provenance:
    named = {f"tiles_{store.path.stem}": store for store in tiles}
    named |= {f"features_{store.path.stem}": store for store in features}
    return origin_of(stores=named, settings=args.settings.model_dump(mode="json"))


def _tiles_of(folds: Sequence[int], tiles: Sequence[Store], features: Sequence[Store]) -> OrganTiles:
    """CLS tokens, organs and patients of every tile of `folds`."""
    cls = [np.zeros((0, features[0].shape("cls")[-1]), np.float32)]
    organs: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    for tile_store, feature_store in zip(tiles, features, strict=True):
        rows = np.flatnonzero([fold_of(tile_id) in folds for tile_id in tile_store.names("tile_id")])
        cls.append(read_cls(feature_store, rows))
        organs += names_at(tile_store, "organ", rows)
        patients += names_at(tile_store, "patient", rows)
    return OrganTiles(np.concatenate(cls), organ_numbers(organs), patients)


def _header(args: argparse.Namespace, origin: Provenance, features: Store, tiles: dict[str, int]) -> CheckpointHeader:
    """Everything that is known before training."""
    settings = args.settings.organ_head
    folds = ", ".join(map(str, args.train_folds))
    return CheckpointHeader(
        provenance=origin,
        kind="organ_head",
        split=args.split,
        status="trained" if tiles["train"] else "absent",
        reason="" if tiles["train"] else f"no tiles in training folds {folds}",
        architecture={
            "dim": features.shape("cls")[-1],
            "hidden": settings.hidden,
            "organs": len(ORGANS),
            "dropout": settings.dropout,
        },
        encoder=encoder_record(features),
        organs=ORGANS,
        mpp=TILE_MPP,
        folds={"train": tuple(args.train_folds), "validate": tuple(args.validate_folds)},
        tiles=tiles,
        code=args.code,
    )


def _identity(args: argparse.Namespace, header: CheckpointHeader, device: torch.device) -> dict[str, str]:
    order = [path.stem for path in args.tiles]
    return identity_of(header, folds_in_order=order, code=code_fingerprint(__name__), device=device)


def _warn_unknown(role: str, unknown: dict[str, int]) -> None:
    if unknown:
        shown = " ".join(f"{organ}={count}" for organ, count in unknown.items())
        log.warning("organs without training tiles cannot be predicted: role=%s %s", role, shown)


def _write_absent(args: argparse.Namespace, header: CheckpointHeader, n_test: int) -> None:
    log.warning("split=%s has no OrganHead: %s", args.split, header.reason)
    document = OrganHeadEvaluation(
        provenance=header.provenance, split=args.split, status="absent", reason=header.reason, n_tiles=n_test
    )
    _write(args, header, {}, (), document)


def _write_trained(
    args: argparse.Namespace, header: CheckpointHeader, fitted: FittedOrganHead, evaluation: OrganHeadEvaluation
) -> None:
    record = fitted.kept.record
    metrics = {f"validate_{name}": value for name, value in record.validate.items()}
    trained = header.model_copy(
        update={
            "epoch": record.epoch,
            "selection": fitted.kept.selection,
            "metrics": {
                "train_total": record.train["total"],
                **metrics,
                "temperature": float(fitted.module.temperature),
            },
        }
    )
    _write(args, trained, fitted.module.state_dict(), fitted.kept.history, evaluation)


def _write(  # five arguments: three files and what two of them share
    args: argparse.Namespace,
    header: CheckpointHeader,
    weights: Weights,
    history: Sequence[EpochRecord],
    evaluation: OrganHeadEvaluation,
) -> None:
    """Write checkpoint, history and evaluation, which never lie beside one of another training."""
    with replacing_together(args.checkpoint, args.history, args.evaluation) as (
        checkpoint_path,
        history_path,
        evaluation_path,
    ):
        write_history(history_path, ORGAN_HEAD_HISTORY, history, chosen=header.epoch)
        described = header.model_copy(update={"tables": {"history": sha256_of(history_path)}})
        write_document(evaluation_path, evaluation)
        write_checkpoint(checkpoint_path, described, weights)


def _evaluation(  # six arguments: what the document says
    args: argparse.Namespace,
    origin: Provenance,
    fitted: FittedOrganHead,
    test: OrganTiles,
    train: OrganTiles,
    device: torch.device,
) -> OrganHeadEvaluation:
    if not len(test):
        folds = ", ".join(map(str, args.test_folds))
        return OrganHeadEvaluation(
            provenance=origin, split=args.split, status="absent", reason=f"no tiles in test folds {folds}", n_tiles=0
        )
    probabilities = organ_probabilities(fitted.module, test.cls, device)
    organs = [ORGANS[number] for number in test.organ]
    groups = groups_of(test.patient)
    names, confusion = organ_confusion(probabilities, organs)
    return OrganHeadEvaluation(
        provenance=origin,
        split=args.split,
        status="evaluated",
        n_tiles=len(test),
        n_patients=n_patients(test.patient),
        n_tiles_without_patient=test.patient.count(""),
        figures=organ_values(probabilities, organs, seed=args.settings.seed, groups=groups),
        recall=_recall(probabilities, test.organ, groups, args.settings.seed),
        organ_names=names,
        confusion=confusion,
        temperature=float(fitted.module.temperature),
        unseen=test.unknown_to(train),
    )


def _recall(probabilities: np.ndarray, organ: np.ndarray, groups: Groups, seed: int) -> dict[str, Value]:
    """Recall of each organ with test tiles, with its interval."""
    right = (probabilities.argmax(axis=1) == organ).astype(np.float64)
    found = {}
    for number in sorted(Counter(organ.tolist())):
        of_organ = np.where(organ == number, right, np.nan)  # tiles of NaN are left out
        interval = bootstrap_mean(of_organ, rng=np.random.default_rng(seed), groups=groups)
        found[ORGANS[number]] = Value(**interval._asdict())
    return found
