"""Stage `train_hovernet`: tiles and features of a family -> its decoder, its history, and maps of the validation tiles."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import torch

from cellvit.config.steps import TrainHovernetSettings
from cellvit.errors import SettingsError, StaleFileError
from cellvit.formats.checkpoints import Arrays, CheckpointHeader, read_checkpoint, read_header
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

log = logging.getLogger(__name__)

_SAME: Final = ("kind", "split", "folds", "encoder", "classes", "architecture")
"""What a decoder has in common with the one that its training starts from: neither may have seen other folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[TrainHovernetSettings, Setting("JSON: decoder, training, selection and seed")]
    split: Annotated[str, Setting("name of the split")]
    family: Annotated[str, Setting("name of the family")]
    train_folds: Annotated[tuple[int, ...], Setting("folds that train")]
    validate_folds: Annotated[tuple[int, ...], Setting("folds that select the weights")]
    members: Annotated[tuple[Path, ...], Input("lists of the family's rows, one for each of these folds")]
    tiles: Annotated[tuple[Path, ...], Through("tile stores of the folds, in the same order")]
    features: Annotated[tuple[Path, ...], Through("feature stores of the folds, in the same order")]
    checkpoint: Annotated[Path, Output("checkpoint to write")]
    history: Annotated[Path, Output("CSV to write: a row for each round of steps")]
    maps: Annotated[Path, Output("store to write: maps of the validation tiles, from which the decoding is tuned")]
    start: Annotated[Path | None, Input("checkpoint of the shared decoder to start from (training.start_from)")] = None
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write checkpoint, history and maps; without training tiles, the checkpoint records the reason and holds no weights.

    If an earlier run of the same training was stopped, it resumes after its last round.
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
            threads, start = arguments.threads, _start(arguments, header)
            model = fit_decoder(data, rows, settings, device=device, threads=threads, states=states, start=start)
            write_outputs(arguments.checkpoint, arguments.history, header, model)
            store_maps(arguments.maps, arguments.checkpoint, data, validate, device=device)


def _start(arguments: Arguments, header: CheckpointHeader) -> Arrays | None:
    """Weights to start from, if the settings ask for them.

    Raises:
        SettingsError: Settings and arguments disagree on whether there is a decoder to start from.
        StaleFileError: It is a decoder of another split, encoder or architecture.
    """
    asked, path = arguments.settings.training.start_from, arguments.start
    if (asked == "shared") != (path is not None):
        raise SettingsError(
            f"--start: expected a checkpoint with training.start_from=shared alone, found {path}, {asked}"
        )
    if path is None:
        return None
    found, weights = read_checkpoint(path)
    differing = [name for name in _SAME if getattr(found, name) != getattr(header, name)]
    if differing:
        lines = [f"  {name}: expected {getattr(header, name)}, found {getattr(found, name)}\n" for name in differing]
        raise StaleFileError(
            f"{path}: the training cannot start from this decoder, because it differs from the one to train.\n{''.join(lines)}"
            "Fix: use the same decoder settings for every family, or set training.start_from: scratch"
        )
    log.info("the training starts from the decoder of family=%s step=%d path=%s", found.family, found.step, path)
    return weights


def _header(arguments: Arguments, data: FamilyData, rows: RowsByRole) -> CheckpointHeader:
    """Everything that is known before the training."""
    decoder = arguments.settings.decoder
    trained = set(data.tiles.names("organ", rows.train))
    before = read_header(arguments.start).sources if arguments.start else ()
    folds = ", ".join(map(str, arguments.train_folds))
    inputs = (*arguments.members, *([arguments.start] if arguments.start else []))
    return CheckpointHeader(
        provenance=provenance_of(arguments.checkpoint, inputs, arguments.settings.model_dump(mode="json")),
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
        sources=tuple(sorted({*before, *data.tiles.names("source", rows.train)})),
        code=arguments.code,
    )
