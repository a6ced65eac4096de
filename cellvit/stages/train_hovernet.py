"""Stage `train_hovernet`: a family's features and targets -> its decoder and the history of its training."""

import argparse
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import torch

from cellvit.config.settings import Device
from cellvit.config.steps import TrainHovernetSettings
from cellvit.formats.atomic import replacing_together
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.digests import sha256_of
from cellvit.formats.family import FamilyStore
from cellvit.formats.features import open_family_features
from cellvit.formats.history import HOVERNET_HISTORY, EpochRecord, write_history
from cellvit.formats.provenance import origin_of
from cellvit.formats.tiles import open_targets
from cellvit.formats.training_state import Weights, resuming
from cellvit.inference.blocks import block_positions, encoder_record, stored_blocks
from cellvit.models.device import resolve_device
from cellvit.taxonomy import CLASS_NAMES, ORGANS, TILE_MPP
from cellvit.training.hovernet import FamilyData, architecture_of, fit_decoder
from cellvit.training.identity import identity_of
from cellvit.workflow.fingerprint import code_fingerprint

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's input, output and params."""
    parser.add_argument("--settings", type=TrainHovernetSettings.model_validate_json, required=True, help="JSON")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--family", required=True, help="name of the family")
    parser.add_argument("--train-folds", type=int, nargs="+", required=True, help="folds that train")
    parser.add_argument("--validate-folds", type=int, nargs="+", required=True, help="folds that choose the epoch")
    parser.add_argument("--features", type=Path, required=True, help="the family's features")
    parser.add_argument("--targets", type=Path, required=True, help="the family's targets")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--history", type=Path, required=True, help="CSV to write: a row an epoch")
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the header")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where torch computes")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch, and processes that measure bPQ")


def run(args: argparse.Namespace) -> None:
    """Write checkpoint and history; without training tiles the checkpoint says so and holds no weights.

    What an earlier run of the same training left unfinished is gone on from.
    """
    torch.set_num_threads(args.threads)
    with ExitStack() as stack:
        features = stack.enter_context(open_family_features(args.features))
        targets = stack.enter_context(open_targets(args.targets))
        data = _data(args, features, targets)
        header = _header(args, data, features, targets)
        if header.status == "absent":
            log.warning("split=%s family=%s has no decoder: %s", args.split, args.family, header.reason)
            _write(args, header, {}, ())
            return
        device = resolve_device(args.device)
        states = stack.enter_context(resuming(args.checkpoint, _identity(args, header, targets, device)))
        kept = fit_decoder(data, args.settings, device=device, threads=args.threads, states=states)
        metrics = {f"train_{name}": value for name, value in kept.record.train.items()}
        metrics |= {f"validate_{name}": value for name, value in kept.record.validate.items()}
        about = {"epoch": kept.record.epoch, "selection": kept.selection, "metrics": metrics}
        _write(args, header.model_copy(update=about), kept.weights, kept.history)


def _write(
    args: argparse.Namespace, header: CheckpointHeader, weights: Weights, history: Sequence[EpochRecord]
) -> None:
    """Write checkpoint and history, which never lie beside one of another training."""
    with replacing_together(args.checkpoint, args.history) as (checkpoint_path, history_path):
        write_history(history_path, HOVERNET_HISTORY, history, chosen=header.epoch)
        described = header.model_copy(update={"tables": {"history": sha256_of(history_path)}})
        write_checkpoint(checkpoint_path, described, weights)


def _data(args: argparse.Namespace, features: FamilyStore, targets: FamilyStore) -> FamilyData:
    return FamilyData(
        features=features,
        targets=targets,
        train=targets.rows_of_folds(args.train_folds),
        validate=targets.rows_of_folds(args.validate_folds),
        taps=block_positions(features, _blocks(args, features)),
    )


def _identity(
    args: argparse.Namespace, header: CheckpointHeader, targets: FamilyStore, device: torch.device
) -> dict[str, str]:
    used = {*args.train_folds, *args.validate_folds}
    order = [fold for fold in dict.fromkeys(targets.all("fold").tolist()) if fold in used]
    return identity_of(header, folds_in_order=order, code=code_fingerprint(__name__), device=device)


def _blocks(args: argparse.Namespace, features: FamilyStore) -> tuple[int, ...]:
    return args.settings.decoder.taps or stored_blocks(features)


def _header(
    args: argparse.Namespace, data: FamilyData, features: FamilyStore, targets: FamilyStore
) -> CheckpointHeader:
    """Everything that is known before training."""
    organs = targets.names("organ")
    seen = {organs[row] for row in data.train}
    absent = not len(data.train)
    return CheckpointHeader(
        provenance=origin_of(
            families={"features": features, "targets": targets},
            folds=[*args.train_folds, *args.validate_folds],
            settings=args.settings.model_dump(mode="json"),
        ),
        kind="hovernet",
        split=args.split,
        family=args.family,
        status="absent" if absent else "trained",
        reason=_reason(args, targets) if absent else "",
        architecture=architecture_of(args.settings.decoder, data),
        encoder=_encoder(args, features),
        classes=CLASS_NAMES,
        organs=tuple(organ for organ in ORGANS if organ in seen),
        mpp=TILE_MPP,
        folds={"train": tuple(args.train_folds), "validate": tuple(args.validate_folds)},
        tiles={"train": len(data.train), "validate": len(data.validate)},
        code=args.code,
    )


def _encoder(args: argparse.Namespace, features: FamilyStore) -> dict[str, Any]:
    """Settings of the encoder, and the blocks that the decoder reads."""
    return {**encoder_record(features), "taps": list(_blocks(args, features))}


def _reason(args: argparse.Namespace, targets: FamilyStore) -> str:
    settings = targets.provenance.settings
    organs = f" (organs {', '.join(settings['organs'])})" if "organs" in settings else ""
    folds = ", ".join(map(str, args.train_folds))
    return f"family {args.family}{organs} has no tiles in training folds {folds}"
