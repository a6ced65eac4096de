"""Work spread over processes that start once, with results in order and bounded memory."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Final, TypeVar

import cv2

from cellvit.errors import CellvitError

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_A_POOL: Final = 64
"""Below this number of items all work is done in this process: workers start in 1 to 2 s, a tile takes about 30 ms."""

_AHEAD: Final = 4
"""Items in flight per worker: no worker waits for the decoder, and each item takes a few megabytes."""


class Workers:
    """Maps functions over items; made by `workers`."""

    def __init__(self, pool: ProcessPoolExecutor | None, in_flight: int) -> None:
        self._pool, self._in_flight = pool, in_flight

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``function(item)`` in the order of the items; items are taken only as results are read.

        Args:
            function: A module's function (or `functools.partial` of one) of a module that imports no torch.

        Raises:
            CellvitError: A worker process ended.
        """
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(function, item))
                if len(waiting) >= self._in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise CellvitError(
                "a worker process ended unexpectedly, most often because the memory was full. "
                "Fix: run the step with fewer threads (--threads 1 uses one process), or give it more mem_mb."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def workers(threads: int, n_items: int) -> Iterator[Workers]:
    """Yield workers for about `n_items` items: `threads` processes, or none for one thread or few items."""
    if threads <= 1 or n_items < WORTH_A_POOL:
        yield Workers(None, 1)
        return
    spawn = multiprocessing.get_context("spawn")  # forking a process in which torch has threads can hang
    pool = ProcessPoolExecutor(threads, mp_context=spawn, initializer=_start_worker)
    try:
        yield Workers(pool, _AHEAD * threads)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # the processes already share the cores
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended: workers of a pool outlive a parent that was killed."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
