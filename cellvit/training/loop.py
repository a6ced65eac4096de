"""Optimizer steps as a generator, their learning rate, their means over a round, and the log line of a round."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cellvit.errors import TrainingDivergedError
from cellvit.formats.history import RoundRecord
from cellvit.training.seeding import seed_step
from cellvit.training.trainable import Trainable

log = logging.getLogger(__name__)

_VECTOR_DIMS = 1
"""Biases, gains and learned loss weights have at most one axis; weight decay leaves them out."""


class Parts(Protocol):
    """A loss with its parts by name: a named tuple of scalars."""

    @property
    def total(self) -> Float[Tensor, ""]:
        """The value that training minimizes."""

    def _asdict(self) -> dict[str, Float[Tensor, ""]]: ...


Batch = TypeVar("Batch", bound=Sized)
"""A batch, whose length is its number of tiles."""


class Step(NamedTuple):
    """One optimizer step; its values are still on the device, so that the host need not wait for them.

    Attributes:
        n: Number of tiles in its batch.
        names: Names of the parts of the loss, and "clipped" where gradients are.
        values: Parts of the loss, 1 or 0 for whether the gradient was clipped, and last its norm before that.
    """

    number: int
    n: int
    rate: float
    names: tuple[str, ...]
    values: Float[Tensor, " k"]


def train_steps(
    trainable: Trainable,
    batches: Iterable[Batch],
    parts_of: Callable[[Batch], Parts],
    rate_of: Callable[[int], float],
    *,
    max_norm: float = math.inf,
    first: int = 0,
) -> Iterator[Step]:
    """Take one optimizer step for each batch and yield its `Step`, without waiting for the device.

    Whether a step was finite is seen by `averaged`, which must be called before the weights are used.

    Args:
        rate_of: Learning rate by the number of the step.
        max_norm: Gradients are scaled down to this norm.
        first: Number of the first step.
    """
    parameters = [parameter for group in trainable.optimizer.param_groups for parameter in group["params"]]
    for number, batch in enumerate(batches, first):
        rate = rate_of(number)
        for group in trainable.optimizer.param_groups:
            group["lr"] = rate
        seed_step(trainable.seed, number, trainable.device)

        trainable.optimizer.zero_grad(set_to_none=True)
        loss = parts_of(batch)
        loss.total.backward()
        norm = nn.utils.clip_grad_norm_(parameters, max_norm)
        trainable.optimizer.step()
        if trainable.average is not None:
            trainable.average.update(number)
        parts = loss._asdict()
        if math.isfinite(max_norm):
            parts["clipped"] = (norm > max_norm).to(norm.dtype)
        yield Step(number, len(batch), rate, tuple(parts), torch.stack([*parts.values(), norm]).detach())


def averaged(steps: Iterable[Step]) -> tuple[float, dict[str, float]]:
    """Take all steps, at least one; return the learning rate of the last one, and the mean of each value over the tiles.

    Raises:
        TrainingDivergedError: Loss or gradient of a step was not finite; the weights must not be used.
    """
    taken = list(steps)
    values = torch.stack([step.values for step in taken]).cpu().double().numpy()  # the host waits for the device once
    for step, row in zip(taken, values, strict=True):
        _check_finite(step, row)
    means = np.average(values, axis=0, weights=[step.n for step in taken])
    return taken[-1].rate, dict(zip(taken[-1].names, means.tolist(), strict=False))  # the norm has no name


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
    fused = all(parameter.device.type == "cuda" for parameter in parameters)  # one kernel for all parameters
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)


def log_round(record: RoundRecord, n_steps: int, **timing: float) -> None:
    """Log one line: every part of the training loss, and every value that was measured on the validation tiles."""
    measured = {name: value for name, value in record.values.items() if not math.isnan(value)}
    shown = " ".join(f"{name}={value:.4g}" for name, value in (measured | timing).items())
    log.info("step=%d/%d epochs=%.4g rate=%.3g %s", record.step, n_steps, record.epochs, record.rate, shown)


def _check_finite(step: Step, values: Sequence[float]) -> None:
    parts, norm = dict(zip(step.names, values, strict=False)), values[-1]
    if math.isfinite(norm) and math.isfinite(parts["total"]):
        return
    shown = " ".join(f"{name}={value:.4g}" for name, value in parts.items())
    raise TrainingDivergedError(
        f"step {step.number + 1}: loss and gradient must be finite, found gradient norm {norm}, {shown} at a learning rate "
        f"of {step.rate:.3g}. Fix: lower the learning rate (training.learning_rate, organ_head.learning_rate), or raise "
        "training.warmup"
    )
