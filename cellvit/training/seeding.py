"""Random numbers of a training: each follows from the seed and from the number of the step or epoch that uses it.

So no state of a generator must be stored, and a training can resume from any step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """Independent streams of random numbers from one seed."""

    ORDER = 0
    VIEWS = 1
    TORCH = 2


def rng_of(seed: int, stream: Stream, number: int) -> np.random.Generator:
    """The generator of one epoch (`Stream.ORDER`) or of one step (`Stream.VIEWS`)."""
    return np.random.default_rng((seed, stream, number))


def seed_step(seed: int, step: int, device: torch.device) -> None:
    """Let the random numbers that torch uses in a step (dropout, noise) depend on the seed and its number alone."""
    number = int(np.random.SeedSequence((seed, Stream.TORCH, step)).generate_state(1)[0])
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside the block, torch's random numbers (initial weights) start from `seed`; then they are as before.

    On a CPU, a training repeats bit for bit; the number of its threads is a setting. On a GPU, the order in which convolutions
    and bilinear resizing add numbers varies, and repeats are equal only up to rounding.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
