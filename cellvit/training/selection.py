"""The epoch whose weights are kept."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from cellvit.errors import ContractError
from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import Progress, Weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """The kept epoch and the way there.

    Attributes:
        weights: State of the module after that epoch, on the CPU.
        record: That epoch.
        history: Every epoch.
        selection: How the epoch was chosen, in words.
    """

    weights: Weights
    record: EpochRecord
    history: tuple[EpochRecord, ...]
    selection: str


def with_epoch(progress: Progress, record: EpochRecord, model: nn.Module, figure: str) -> Progress:
    """Progress after one more epoch, which is kept where its validation `figure` is the highest, the first of equal ones.

    Epochs in which the figure was not measured cannot win; until it first is, the latest epoch is kept.

    Args:
        model: As that epoch left it.
    """
    history = (*progress.history, record)
    best = _measured(progress, figure)
    if best is None or record.validate[figure] > best:  # NaN is never greater
        return Progress(history, record.epoch, copies(model.state_dict()))
    return Progress(history, progress.kept, progress.weights)


def kept_of(progress: Progress, figure: str) -> Kept:
    """The kept epoch of a training that is finished.

    Raises:
        ContractError: It had no epoch.
    """
    if not progress.history:
        raise ContractError("training: needs at least one epoch, found none")
    if _measured(progress, figure) is None:
        selection = f"last epoch: {figure} is not defined on the validation tiles"
    else:
        selection = f"best validation {figure}"
    log.info("kept epoch=%d of=%d selection=%r", progress.kept, progress.epoch, selection)
    return Kept(progress.weights, progress.history[progress.kept - 1], progress.history, selection)


def copies(tensors: Mapping[str, Tensor]) -> Weights:
    """The tensors as they are now, on the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def _measured(progress: Progress, figure: str) -> float | None:
    """The figure of the kept epoch; None where no epoch so far has it."""
    if not progress.kept:
        return None
    value = progress.history[progress.kept - 1].validate[figure]
    return None if math.isnan(value) else value
