"""A training after a whole epoch, as it is kept to go on from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from cellvit.contracts.history import EpochRecord

Weights = dict[str, Tensor]
"""Tensors by name, copies on the CPU; a name may begin with that of the part that its tensor is of, and a slash."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Epochs so far, and the one whose weights are kept if no better one follows.

    Attributes:
        history: Every epoch; its length is the number of the last one.
        kept: Number of the kept epoch; 0 before the first.
        weights: State of the model after that epoch.
    """

    history: tuple[EpochRecord, ...] = ()
    kept: int = 0
    weights: Weights = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Number of the last whole epoch."""
        return len(self.history)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What changes from step to step; with settings, data and code it decides every step that follows.

    The number of the step is no part of it: it is that of the epoch times the steps of one.

    Attributes:
        modules: Parameters and buffers, as ``module/name``.
        optimizer: What it remembers of each parameter, as ``number/name``.
        torch_random: State of torch's generator of each device in use, by device type.
        generators: State of numpy's generators by name, as `numpy.random.BitGenerator.state`.
    """

    modules: Weights
    optimizer: Weights
    torch_random: Weights
    generators: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that a training needs to go on as if it had not been stopped."""

    progress: Progress
    snapshot: Snapshot


def joined(parts: Mapping[str, Weights]) -> Weights:
    """Tensors of several parts, as ``part/name``."""
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def part_of(weights: Weights, part: str) -> Weights:
    """Tensors of one part, by their names in it."""
    start = f"{part}/"
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
