"""Stage `train_hovernet`: tiles and features of a family -> its decoder, its history, and maps of the validation tiles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from cellvit.config.data import FINAL_SPLIT
from cellvit.config.models import SCRATCH, SHARED
from cellvit.config.steps import TrainHovernetSettings
from cellvit.errors import SettingsError
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.content import provenance_of
from cellvit.formats.family import FamilyData, open_family
from cellvit.formats.seen import check_unseen
from cellvit.formats.tiles import open_tiles
from cellvit.formats.training_state import resuming
from cellvit.inference.blocks import encoder_record
from cellvit.inference.map_stores import store_maps
from cellvit.models.device import resolve_device
from cellvit.training.final import NOTHING_CHOSEN, chosen_by_splits
from cellvit.training.hovernet import RowsByRole, architecture_of, blocks_read, fit_decoder
from cellvit.training.outputs import write_outputs
from cellvit.training.resuming import made_by
from cellvit.training.start import Start, start_of_file, start_of_shared, with_start
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired
from cellvit.workflow.verification import START


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
    start: Annotated[Path | None, Input("checkpoint to start from: the shared decoder, or a file of the settings")] = (
        None
    )
    unseen: Annotated[
        tuple[Path, ...], Through("tile stores of the test folds, which such a file must not have seen")
    ] = ()
    splits: Annotated[tuple[Path, ...], Input("decoders of the splits, which choose the steps of the final model")] = ()
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write checkpoint, history and maps; without training tiles, the checkpoint records the reason and holds no weights.

    If an earlier run of the same training was stopped, it resumes after its last round.
    """
    device = resolve_device(arguments.device)
    torch.set_num_threads(arguments.settings.training.cpu_threads if device.type == "cpu" else arguments.threads)
    check_paired(members=arguments.members, tiles=arguments.tiles, features=arguments.features)
    with open_family(arguments.members, arguments.tiles, arguments.features) as data:
        train, validate = (data.rows_of_folds(folds) for folds in (arguments.train_folds, arguments.validate_folds))
        rows = RowsByRole(train, validate)
        training = arguments.settings.training
        header = _header(arguments, data, rows)
        chosen = chosen_by_splits(arguments.splits, training.n_steps) if header.final else None
        if header.final and chosen is None and header.status == "trained":
            header = header.model_copy(update={"status": "absent", "reason": NOTHING_CHOSEN})
        if header.status == "absent":
            write_outputs(arguments.checkpoint, arguments.history, header)
            store_maps(arguments.maps, arguments.checkpoint, data, validate, device=device, threads=arguments.threads)
            return
        start = _start(arguments, header, data, rows)
        header = with_start(header, start, data, rows)
        identity = made_by(header, arguments.members, device)
        with resuming(arguments.checkpoint, arguments.history, identity) as states:
            model = fit_decoder(
                data,
                rows,
                arguments.settings,
                device=device,
                threads=arguments.threads,
                states=states,
                start=start.weights if start else None,
                stop_after=chosen.steps(training.n_steps(len(train))) if chosen else None,
            )
            model = chosen.applied(model) if chosen else model
            write_outputs(arguments.checkpoint, arguments.history, header, model)
            store_maps(arguments.maps, arguments.checkpoint, data, validate, device=device, threads=arguments.threads)


def _start(arguments: Arguments, header: CheckpointHeader, data: FamilyData, rows: RowsByRole) -> Start | None:
    """Weights to start from, if the settings ask for them.

    Raises:
        SettingsError: Settings and arguments disagree on whether there is a decoder to start from.
        StaleFileError: It does not fit the decoder to train.
        IntegrityError: It is a file whose weights have seen test tiles.
    """
    asked, path = arguments.settings.training.start_from, arguments.start
    if (asked == SCRATCH) != (path is None):
        raise SettingsError(
            f"--start: expected a checkpoint unless training.start_from is {SCRATCH}, found {path}, {asked}"
        )
    if path is None:
        return None
    if asked == SHARED:
        return start_of_shared(path, header)
    start = start_of_file(path, header, data, rows)
    for tiles in arguments.unseen:
        with open_tiles(tiles) as store:
            check_unseen(path, start.header.seen, store, np.arange(len(store)))
    return start


def _header(arguments: Arguments, data: FamilyData, rows: RowsByRole) -> CheckpointHeader:
    """Everything that is known before the training."""
    decoder, data_set = arguments.settings.decoder, data.tiles.dataset
    trained = set(data.tiles.names("organ", rows.train))
    folds = ", ".join(map(str, arguments.train_folds))
    inputs, others = [*arguments.members, *arguments.splits], dict[str, Path]()
    if arguments.start and arguments.settings.training.start_file:
        others[START] = arguments.start
    elif arguments.start:
        inputs.append(arguments.start)
    settings = arguments.settings.model_dump(mode="json")
    return CheckpointHeader(
        provenance=provenance_of(arguments.checkpoint, inputs, settings, others=others),
        kind="hovernet",
        split=arguments.split,
        family=arguments.family,
        status="trained" if trained else "absent",
        reason="" if trained else f"family {arguments.family} has no tiles in training folds {folds}",
        architecture=architecture_of(decoder, data.features, data_set.n_classes),
        encoder={**encoder_record(data.features), "blocks": list(blocks_read(decoder, data.features))},
        classes=data_set.class_names,
        mpp=data_set.mpp,
        folds={"train": arguments.train_folds, "validate": arguments.validate_folds},
        tiles={"train": len(rows.train), "validate": len(rows.validate)},
        trained_organs=tuple(organ for organ in data_set.organs if organ in trained),
        sources=tuple(sorted(set(data.tiles.names("source", rows.train)))),
        final=arguments.split == FINAL_SPLIT,
        code=arguments.code,
        licence=data_set.licence_of_weights,
    )
