"""Several batches at a time on the cores of a CPU, each computed by one thread.

Two batches on a core each take less time than one after the other on two, and the results do not depend on the number of cores:
threads that share a batch add numbers in another order.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import torch

MOST_LANES: Final = 8
"""Batches at a time at most (decision): each holds its activations in memory."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def shared_out(device: torch.device, threads: int) -> int:
    """Give the threads to batches: on a CPU one to each of several batches; else all of them to torch, for one batch.

    Returns:
        Number of batches that are to be computed at a time.
    """
    torch.set_num_threads(1 if device.type == "cpu" else threads)
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
