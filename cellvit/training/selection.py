"""The epoch whose weights are kept."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from cellvit.contracts.history import EpochRecord
from cellvit.errors import ContractError

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

    weights: dict[str, Tensor]
    record: EpochRecord
    history: tuple[EpochRecord, ...]
    selection: str


def keep_best(records: Iterable[EpochRecord], module: nn.Module, figure: str) -> Kept:
    """Run a training to its end and keep the epoch of the highest validation `figure`, the first of equal ones.

    Epochs in which the figure was not measured cannot win; where it never was, the last epoch is kept.

    Args:
        records: Yields after each epoch, while `module` is as that epoch left it.
    """
    history: list[EpochRecord] = []
    best, weights, kept = -math.inf, {}, None
    for record in records:
        history.append(record)
        value = record.validate[figure]
        if value > best or math.isinf(best):  # NaN is never greater: until a first measurement the latest epoch is kept
            best = -math.inf if math.isnan(value) else value
            weights, kept = _copied(module), record
    if kept is None:
        raise ContractError("training: needs at least one epoch, found none")
    if math.isinf(best):
        selection = f"last epoch: {figure} is not defined on the validation tiles"
    else:
        selection = f"best validation {figure}"
    log.info("kept epoch=%d of=%d selection=%r", kept.epoch, len(history), selection)
    return Kept(weights, kept, tuple(history), selection)


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in module.state_dict().items()}
