"""Stage `train_hovernet`: tiles and features of a family -> its decoder, its history, and maps of the validation tiles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from cellvit.config.steps import TrainHovernetSettings
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.content import provenance_of
from cellvit.formats.family import FamilyData, open_family
from cellvit.formats.training_state import resuming
from cellvit.inference.blocks import encoder_record
from cellvit.inference.map_stores import store_maps
from cellvit.models.device import resolve_device
from cellvit.taxonomy import CLASS_NAMES, ORGANS, TILE_MPP
from cellvit.training.hovernet import RowsByRole, architecture_of, blocks_read, fit_decoder
from cellvit.training.outputs import write_outputs
from cellvit.training.resuming import made_by
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[TrainHovernetSettings, Setting("JSON: decoder, training, selection and seed")]
    split: Annotated[str, Setting("name of the split")]
    family: Annotated[str, Setting("name of the family")]
    train_folds: Annotated[tuple[int, ...], Setting("folds that train")]
    validate_folds: Annotated[tuple[int, ...], Setting("folds that select the epoch")]
    members: Annotated[tuple[Path, ...], Input("lists of the family's rows, one for each of these folds")]
    tiles: Annotated[tuple[Path, ...], Through("tile stores of the folds, in the same order")]
    features: Annotated[tuple[Path, ...], Through("feature stores of the folds, in the same order")]
    checkpoint: Annotated[Path, Output("checkpoint to write")]
    history: Annotated[Path, Output("CSV to write: a row for each epoch")]
    maps: Annotated[Path, Output("store to write: maps of the validation tiles, from which the decoding is tuned")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write checkpoint, history and maps; without training tiles, the checkpoint records the reason and holds no weights.

    If an earlier run of the same training was stopped, it resumes after its last epoch.
    """
    torch.set_num_threads(arguments.threads)
    check_paired(members=arguments.members, tiles=arguments.tiles, features=arguments.features)
    with open_family(arguments.members, arguments.tiles, arguments.features) as data:
        train, validate = (data.rows_of_folds(folds) for folds in (arguments.train_folds, arguments.validate_folds))
        rows = RowsByRole(train, validate)
        header, device = _header(arguments, data, rows), resolve_device(arguments.device)
        if header.status == "absent":
            write_outputs(arguments.checkpoint, arguments.history, header)
            store_maps(arguments.maps, arguments.checkpoint, data, validate, device=device)
            return
        settings = arguments.settings
        identity = made_by(header, arguments.members, device)
        with resuming(arguments.checkpoint, arguments.history, identity) as states:
            model = fit_decoder(data, rows, settings, device=device, threads=arguments.threads, states=states)
            write_outputs(arguments.checkpoint, arguments.history, header, model)
            store_maps(arguments.maps, arguments.checkpoint, data, validate, device=device)


def _header(arguments: Arguments, data: FamilyData, rows: RowsByRole) -> CheckpointHeader:
    """Everything that is known before the training."""
    decoder = arguments.settings.decoder
    trained = set(data.tiles.names("organ", rows.train))
    folds = ", ".join(map(str, arguments.train_folds))
    return CheckpointHeader(
        provenance=provenance_of(arguments.checkpoint, arguments.members, arguments.settings.model_dump(mode="json")),
        kind="hovernet",
        split=arguments.split,
        family=arguments.family,
        status="trained" if trained else "absent",
        reason="" if trained else f"family {arguments.family} has no tiles in training folds {folds}",
        architecture=architecture_of(decoder, data.features),
        encoder={**encoder_record(data.features), "blocks": list(blocks_read(decoder, data.features))},
        classes=CLASS_NAMES,
        mpp=TILE_MPP,
        folds={"train": arguments.train_folds, "validate": arguments.validate_folds},
        tiles={"train": len(rows.train), "validate": len(rows.validate)},
        trained_organs=tuple(organ for organ in ORGANS if organ in trained),
        code=arguments.code,
    )
