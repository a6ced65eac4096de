"""Random numbers of a training, all of them from one seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """Independent streams of random numbers from one seed."""

    ORDER = 0
    VIEWS = 1


def generators(seed: int) -> dict[Stream, np.random.Generator]:
    """A random number generator for each stream."""
    return {stream: np.random.default_rng((seed, stream)) for stream in Stream}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside the block, torch's random numbers (initial weights, dropout) start from `seed`; then they are as before.

    On a CPU, a training with the same number of threads repeats bit for bit. On a GPU, the order in which convolutions
    and bilinear resizing add numbers varies, and repeats are equal only up to rounding.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
