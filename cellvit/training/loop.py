"""Optimizer steps as a generator: the caller counts, evaluates, saves and stops."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cellvit.errors import TrainingDivergedError

_VECTOR_DIMS = 1
"""Biases, gains and learned loss weights have at most one axis; they are not decayed."""


class Parts(Protocol):
    """A loss with its parts by name."""

    @property
    def total(self) -> Float[Tensor, ""]:
        """What is minimized."""

    def as_floats(self) -> dict[str, float]:
        """Every part, `total` among them."""


class SizedBatch(Protocol):
    """A batch that knows its number of tiles."""

    def __len__(self) -> int: ...


Batch = TypeVar("Batch", bound=SizedBatch)


class Step(NamedTuple):
    """One optimizer step.

    Attributes:
        n: Tiles of its batch.
        norm: Norm of the gradient before clipping.
    """

    number: int
    n: int
    rate: float
    norm: float
    parts: dict[str, float]


def train_steps(
    batches: Iterable[Batch],
    parts_of: Callable[[Batch], Parts],
    optimizer: torch.optim.Optimizer,
    rate_of: Callable[[int], float],
    *,
    max_norm: float = math.inf,
    first: int = 0,
) -> Iterator[Step]:
    """Take one optimizer step a batch and yield its `Step`.

    Args:
        rate_of: Learning rate by number of the step.
        max_norm: Gradients are scaled down to this norm.
        first: Number of the first step.

    Raises:
        TrainingDivergedError: Loss or gradient is not finite; parameters are as before that step.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, batch in enumerate(batches, first):
        rate = rate_of(number)
        for group in optimizer.param_groups:
            group["lr"] = rate

        optimizer.zero_grad(set_to_none=True)
        loss = parts_of(batch)
        loss.total.backward()
        norm = float(nn.utils.clip_grad_norm_(parameters, max_norm))
        parts = loss.as_floats()
        _check_finite(number, rate, norm, parts)
        optimizer.step()
        yield Step(number, len(batch), rate, norm, parts)


def adamw(modules: Iterable[nn.Module], *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all parameters of `modules`; only weights of layers decay (Loshchilov and Hutter 2019)."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > _VECTOR_DIMS], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= _VECTOR_DIMS], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


class Means:
    """Means over tiles of parts by name, batch by batch."""

    def __init__(self) -> None:
        self._n = 0
        self._sums: dict[str, float] = {}

    def add(self, parts: Mapping[str, float], n: int) -> None:
        """Count the parts of a batch of `n` tiles."""
        self._n += n
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + n * value

    def values(self) -> dict[str, float]:
        """Mean of each part."""
        return {name: value / self._n for name, value in self._sums.items()}


def _check_finite(number: int, rate: float, norm: float, parts: Mapping[str, float]) -> None:
    if math.isfinite(norm) and math.isfinite(parts["total"]):
        return
    shown = " ".join(f"{name}={value:.4g}" for name, value in parts.items())
    raise TrainingDivergedError(
        f"step {number}: loss and gradient must be finite, found gradient norm {norm}, {shown} at a learning rate of "
        f"{rate:.3g}. Lower the learning rate (training.learning_rate, organ_head.learning_rate), or raise "
        "training.warmup."
    )
