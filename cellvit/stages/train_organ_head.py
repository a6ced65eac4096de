"""Stage `train_organ_head`: CLS tokens of a split's folds -> OrganHead, and the history of its training."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from cellvit.config.data import FINAL_SPLIT
from cellvit.config.steps import TrainOrganHeadSettings
from cellvit.errors import ContractError
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.content import provenance_of
from cellvit.formats.tiles import fold_of
from cellvit.formats.training_state import resuming
from cellvit.inference.blocks import encoder_record
from cellvit.inference.cls_tokens import read_cls
from cellvit.inference.folds import FoldData, open_folds
from cellvit.models.device import resolve_device
from cellvit.training.final import NOTHING_CHOSEN, chosen_by_splits
from cellvit.training.organ_head import OrganTiles, fit_organ_head
from cellvit.training.outputs import write_outputs
from cellvit.training.resuming import made_by
from cellvit.workflow.arguments import Code, DeviceChoice, Input, Output, Setting, Threads, Through, check_paired

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step reads and writes; names match the rule's input, output and params."""

    settings: Annotated[TrainOrganHeadSettings, Setting("JSON: OrganHead and seed")]
    split: Annotated[str, Setting("name of the split")]
    train_folds: Annotated[tuple[int, ...], Setting("folds that train")]
    validate_folds: Annotated[tuple[int, ...], Setting("folds that select the epoch and calibrate")]
    tiles: Annotated[tuple[Path, ...], Input("tile stores of these folds")]
    features: Annotated[tuple[Path, ...], Input("feature stores of the folds, in the same order")]
    checks: Annotated[tuple[Path, ...], Through("checks of the features, which must have passed")]
    splits: Annotated[tuple[Path, ...], Input("OrganHeads of the splits, which choose the steps of the final one")] = ()
    checkpoint: Annotated[Path, Output("checkpoint to write")]
    history: Annotated[Path, Output("CSV to write: a row for each epoch")]
    device: DeviceChoice = "auto"
    threads: Threads = 1
    code: Code = ""


def run(arguments: Arguments) -> None:
    """Write checkpoint and history; without training tiles, the checkpoint records the reason and holds no weights.

    If an earlier run of the same training was stopped, it resumes after its last epoch.

    Raises:
        ContractError: The data set has fewer than two organs, so that there is nothing to predict.
    """
    if arguments.device == "cpu" or not torch.cuda.is_available():
        # More threads add numbers in another order, and the model is too small to gain from them.
        torch.set_num_threads(1)
    check_paired(tiles=arguments.tiles, features=arguments.features)
    with open_folds(arguments.tiles, arguments.features) as data:
        organ_names = data.tiles.dataset.organs
        if len(organ_names) < 2:
            found = ", ".join(organ_names) or "none"
            raise ContractError(f"{arguments.tiles[0]}: OrganHead needs two organs of the data set, found {found}")
        train, validate = (_tiles_of(folds, data) for folds in (arguments.train_folds, arguments.validate_folds))
        header = _header(arguments, data, train, validate)
    settings, device = arguments.settings, resolve_device(arguments.device)
    options, stop_after = settings.organ_head, None
    chosen = chosen_by_splits(arguments.splits, options.n_steps) if header.final else None
    if header.final and chosen is None and header.status == "trained":
        header = header.model_copy(update={"status": "absent", "reason": NOTHING_CHOSEN})
    if header.status == "absent":
        write_outputs(arguments.checkpoint, arguments.history, header)
        return
    names = (organ_names[number] for number in validate.organ)
    if untrained := Counter(name for name in names if name not in header.trained_organs):
        log.warning("organs without training tiles cannot be predicted: %s", dict(sorted(untrained.items())))
    if chosen is not None:
        stop_after = chosen.steps(options.n_steps(len(train)))
    identity = made_by(header, (*arguments.tiles, *arguments.features), device)
    with resuming(arguments.checkpoint, arguments.history, identity) as states:
        head = fit_organ_head(
            train, validate, options, seed=settings.seed, device=device, states=states, stop_after=stop_after
        )
        head = head if chosen is None else chosen.applied(head)
        temperature = float(head.weights["temperature"])
        write_outputs(arguments.checkpoint, arguments.history, header, head, temperature=temperature)


def _tiles_of(folds: Sequence[int], data: FoldData) -> OrganTiles:
    """CLS tokens and organs of all tiles of `folds`."""
    rows = np.flatnonzero([fold_of(tile_id) in folds for tile_id in data.tiles.names("tile_id")])
    names = data.tiles.dataset.organs
    organs = [names.index(organ) for organ in data.tiles.names("organ", rows)]
    return OrganTiles(read_cls(data.features, rows), np.array(organs, np.int64), len(names))


def _header(arguments: Arguments, data: FoldData, train: OrganTiles, validate: OrganTiles) -> CheckpointHeader:
    """Everything that is known before the training."""
    settings, data_set = arguments.settings.organ_head, data.tiles.dataset
    inputs = (*arguments.tiles, *arguments.features, *arguments.splits)
    folds = ", ".join(map(str, arguments.train_folds))
    return CheckpointHeader(
        provenance=provenance_of(arguments.checkpoint, inputs, arguments.settings.model_dump(mode="json")),
        kind="organ_head",
        split=arguments.split,
        status="trained" if len(train) else "absent",
        reason="" if len(train) else f"no tiles in training folds {folds}",
        architecture={
            "dim": data.features.shape("cls")[-1],
            "hidden": settings.hidden,
            "organs": len(data_set.organs),
            "dropout": settings.dropout,
        },
        encoder=encoder_record(data.features),
        organs=data_set.organs,
        mpp=data_set.mpp,
        folds={"train": arguments.train_folds, "validate": arguments.validate_folds},
        tiles={"train": len(train), "validate": len(validate)},
        trained_organs=tuple(organ for number, organ in enumerate(data_set.organs) if number in train.organ),
        final=arguments.split == FINAL_SPLIT,
        code=arguments.code,
        licence=data_set.licence_of_weights,
    )
