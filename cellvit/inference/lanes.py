"""Several batches at a time on the cores of a CPU: two batches on a core each take less time than one after the other on two."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import torch

MOST_LANES: Final = 4
"""Batches at a time at most (decision): each holds its activations in memory; further cores share in the work of a batch."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def lanes_of(device: torch.device, threads: int) -> int:
    """Number of batches that are computed at a time, each by ``threads // lanes`` threads of torch; 1 unless on a CPU."""
    return min(max(threads, 1), MOST_LANES) if device.type == "cpu" else 1


def in_lanes(function: Callable[[Item], Result], items: Iterable[Item], lanes: int) -> Generator[tuple[Item, Result]]:
    """Yield each item with its result, in order, while threads compute the next ones.

    Items are taken in this thread, one more than there are lanes; one lane computes in this thread, when it is asked to. An
    exception of `function` is raised here, at its item. Closing the generator waits for what is being computed.

    Examples:
        >>> list(in_lanes(str.upper, "abc", 2))
        [('a', 'A'), ('b', 'B'), ('c', 'C')]
    """
    if lanes == 1:
        for item in items:
            yield item, function(item)
        return
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > lanes:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            for _, future in waiting:
                future.cancel()
