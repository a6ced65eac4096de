"""The selected epoch: the one whose weights become the checkpoint."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from cellvit.errors import ContractError
from cellvit.formats.checkpoints import Arrays
from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import TrainingState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SelectedModel:
    """Result of a training.

    Attributes:
        weights: State of the module after the selected epoch.
        record: The selected epoch.
        history: Every epoch.
        selection: How the epoch was selected, in words.
    """

    weights: Arrays
    record: EpochRecord
    history: tuple[EpochRecord, ...]
    selection: str


def with_epoch(state: TrainingState, record: EpochRecord, model: nn.Module, metric: str) -> TrainingState:
    """The state after one more epoch, which is selected if its validation `metric` is higher than that of all before.

    An epoch in which the metric was not measured is never better; until the first measurement, the latest epoch is
    selected.

    Args:
        model: As that epoch left it.
    """
    state = replace(state, history=(*state.history, record))
    best = _best(state, metric)
    if best is None or record.validate[metric] > best:  # NaN is never greater
        return replace(state, selected=record.epoch, weights=as_arrays(model.state_dict()))
    return state


def selected_model(state: TrainingState, metric: str) -> SelectedModel:
    """The result of a training that has finished.

    Raises:
        ContractError: It had no epoch.
    """
    if not state.history:
        raise ContractError("training: expected at least one epoch, found none")
    selection = f"best validation {metric}"
    if _best(state, metric) is None:
        selection = f"last epoch: {metric} is not defined on the validation tiles"
    log.info("selected epoch=%d of=%d selection=%r", state.selected, state.epoch, selection)
    return SelectedModel(state.weights, state.history[state.selected - 1], state.history, selection)


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of the tensors as they are now."""
    return {name: np.array(value.detach().cpu().numpy(), order="C") for name, value in tensors.items()}


def _best(state: TrainingState, metric: str) -> float | None:
    """The metric of the selected epoch; None where no epoch so far has it."""
    value = state.history[state.selected - 1].validate[metric] if state.selected else math.nan
    return None if math.isnan(value) else value
