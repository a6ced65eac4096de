"""Training that stores its state after every round, resumes from there in the next run, and selects the best weights."""

import json
import logging
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cellvit.config.base import flattened
from cellvit.formats.checkpoints import CheckpointHeader
from cellvit.formats.headed import Arrays
from cellvit.formats.history import RoundRecord
from cellvit.formats.training_state import StateFile, TrainingState
from cellvit.models.device import computes_in_bfloat16
from cellvit.training.trainable import Trainable, as_arrays

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SelectedModel:
    """Result of a training.

    Attributes:
        weights: State of the module after the selected step.
        record: The round that ends with the selected step.
        history: Every round.
        selection: How the step was selected, in words.
    """

    weights: Arrays
    record: RoundRecord
    history: tuple[RoundRecord, ...]
    selection: str


def train_to_end(
    trainable: Trainable,
    rounds_after: Callable[[int], Generator[RoundRecord]],
    *,
    metric: str,
    states: StateFile | None,
    patience: int | None = None,
) -> SelectedModel:
    """Train all rounds that are still missing, and select the first one of the highest validation `metric`.

    A round after which the metric was not measured is never better; without any measurement, the last one is selected.

    Args:
        rounds_after: Trains the rounds after the given number of steps; yields the record of each.
        states: Where the training resumes from, and where each round is stored; None stores nothing.
        patience: The training ends after so many measurements without a better one; None never ends it early.
    """
    state = (states.read() if states is not None else None) or TrainingState()
    if states is not None and state.step:
        trainable.restore(state)
        log.info("resumed after step=%d state=%s", state.step, states.path)
    with closing(rounds_after(state.step)) as rounds:
        while not (exhausted := _exhausted(state, metric, patience)) and (record := next(rounds, None)):
            best, state = _best(state, metric), replace(state, history=(*state.history, record))
            if math.isnan(best) or record.validate[metric] > best:  # NaN is never greater
                state = replace(state, selected=record.step, weights=as_arrays(trainable.result.state_dict()))
            if states is not None and record.step:  # before the first step there is nothing to resume
                states.write(trainable.stored_in(state))
    selection = f"best validation {metric}"
    if math.isnan(_best(state, metric)):
        selection = f"last step: {metric} is not defined on the validation tiles"
    if exhausted:
        selection += f"; the last {patience} measurements were not better (training.patience)"
    log.info("selected step=%d of=%d selection=%r", state.selected, state.step, selection)
    assert state.selected_record is not None  # every training has at least one round
    return SelectedModel(state.weights, state.selected_record, state.history, selection)


def made_by(header: CheckpointHeader, inputs: Sequence[Path], device: torch.device) -> dict[str, str]:
    """Everything that decides the weights of a training, by name; on a CPU also the threads, which are a setting.

    Args:
        header: What is known before training.
        inputs: Files in the order in which their tiles are read: the random order of the tiles starts from it.
    """
    return {
        "model": header.kind,
        "split": header.split,
        "family": header.family or "none",
        "folds": json.dumps(header.folds),
        "order of the inputs": ", ".join(path.stem for path in inputs),
        "code": header.code,
        "software": f"torch {torch.__version__}, numpy {np.__version__}",
        "device": device.type,
        "computes in bfloat16": str(computes_in_bfloat16(device)),
        **{f"content of {name}": digest for name, digest in header.provenance.made_from.items()},
        **{name: json.dumps(value) for name, value in flattened(header.provenance.settings).items()},
    }


def _best(state: TrainingState, metric: str) -> float:
    """The metric of the selected round; NaN if no round so far has it."""
    return state.selected_record.validate[metric] if state.selected_record is not None else math.nan


def _exhausted(state: TrainingState, metric: str, patience: int | None) -> bool:
    """True if the metric was measured at least `patience` times since the selected round."""
    measured = (record for record in state.history if not math.isnan(record.validate[metric]))
    return patience is not None and sum(record.step > state.selected for record in measured) >= patience
