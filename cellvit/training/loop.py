"""Optimizer steps as a generator, their learning rate, their means over an epoch, and the log line of an epoch."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import NamedTuple, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cellvit.errors import TrainingDivergedError
from cellvit.formats.history import EpochRecord

log = logging.getLogger(__name__)

_VECTOR_DIMS = 1
"""Biases, gains and learned loss weights have at most one axis; weight decay leaves them out."""


class Parts(Protocol):
    """A loss with its parts by name."""

    @property
    def total(self) -> Float[Tensor, ""]:
        """The value that training minimizes."""

    def as_floats(self) -> dict[str, float]:
        """Every part, including `total`."""


Batch = TypeVar("Batch", bound=Sized)
"""A batch, whose length is its number of tiles."""


class Step(NamedTuple):
    """One optimizer step.

    Attributes:
        n: Number of tiles in its batch.
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
    """Take one optimizer step for each batch and yield its `Step`.

    Args:
        rate_of: Learning rate by the number of the step.
        max_norm: Gradients are scaled down to this norm.
        first: Number of the first step.

    Raises:
        TrainingDivergedError: Loss or gradient is not finite; the parameters are as before that step.
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


def rate_at(step: int, *, peak: float, steps: int, warmup: float) -> float:
    """Learning rate of step 0..steps - 1: a linear rise to `peak`, then half a cosine down towards 0.

    Args:
        steps: Number of steps of the whole training.
        warmup: Share of the steps in the rise. The first step has a rate above 0, the last step of the rise has `peak`.

    References:
        Loshchilov and Hutter 2017, SGDR, arXiv 1608.03983 (cosine); Goyal et al. 2017, arXiv 1706.02677 (warm-up).

    Examples:
        >>> [round(rate_at(step, peak=1.0, steps=6, warmup=0.34), 2) for step in range(6)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    rising = int(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


def adamw(modules: Iterable[nn.Module], *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all parameters of `modules`; weight decay applies to the weights of layers (Loshchilov and Hutter 2019)."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > _VECTOR_DIMS], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= _VECTOR_DIMS], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


class Means:
    """Means of named values over tiles, added batch by batch."""

    def __init__(self) -> None:
        self._n = 0
        self._sums: dict[str, float] = {}

    def add(self, parts: Mapping[str, float], n: int) -> None:
        """Add the values of a batch of `n` tiles."""
        self._n += n
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + n * value

    def values(self) -> dict[str, float]:
        """Mean of each value."""
        return {name: value / self._n for name, value in self._sums.items()}


def averaged(steps: Iterable[Step]) -> tuple[float, dict[str, float]]:
    """Take all steps; return the learning rate of the last one, and the mean of each part over the tiles."""
    means, rate = Means(), 0.0
    for step in steps:
        means.add(step.parts, step.n)
        rate = step.rate
    return rate, means.values()


def log_epoch(record: EpochRecord, epochs: int, **timing: float) -> None:
    """Log one line: every part of the training loss, and every value that was measured on the validation tiles."""
    measured = {name: value for name, value in record.values.items() if not math.isnan(value)}
    shown = " ".join(f"{name}={value:.4g}" for name, value in (measured | timing).items())
    log.info("epoch=%d/%d rate=%.3g %s", record.epoch, epochs, record.rate, shown)


def _check_finite(number: int, rate: float, norm: float, parts: Mapping[str, float]) -> None:
    if math.isfinite(norm) and math.isfinite(parts["total"]):
        return
    shown = " ".join(f"{name}={value:.4g}" for name, value in parts.items())
    raise TrainingDivergedError(
        f"step {number}: loss and gradient must be finite, found gradient norm {norm}, {shown} at a learning rate of "
        f"{rate:.3g}. Fix: lower the learning rate (training.learning_rate, organ_head.learning_rate), or raise "
        "training.warmup"
    )
