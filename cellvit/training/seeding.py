"""Randomness of a training: all of it from one seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """Independent streams of one seed."""

    ORDER = 0
    VIEWS = 1


def generators(seed: int, *streams: Stream) -> dict[Stream, np.random.Generator]:
    """The random numbers of each stream."""
    return {stream: np.random.default_rng((seed, stream)) for stream in streams}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch's own randomness (initial weights, dropout) starts from `seed`; outside, it is as before.

    On a CPU, with the same number of threads, a training repeats bit for bit. On a GPU, some sums of convolutions and
    of bilinear resizing are added in changing order, and repeats agree only to rounding.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
