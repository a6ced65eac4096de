"""Work spread over processes that start once, in order and with bounded memory."""

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
"""Items under which all work stays in this process: workers take 1 to 2 s to start, a tile about 30 ms."""

_AHEAD: Final = 4
"""Items in flight a worker: enough that none waits for the decoder, and a few megabytes each."""


class Workers:
    """Maps functions over items; made by `workers`."""

    def __init__(self, pool: ProcessPoolExecutor | None, in_flight: int) -> None:
        self._pool, self._in_flight = pool, in_flight

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``function(item)`` in the order of the items; items are taken only as results are read.

        Args:
            function: A module's function (or `functools.partial` of one) of a module that imports no torch.

        Raises:
            CellvitError: A worker died.
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
                "a worker process died, most often for want of memory. "
                "Run the step with fewer threads (--threads 1 works in one process), or give it more mem_mb."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def workers(threads: int, n_items: int) -> Iterator[Workers]:
    """Yield workers for about `n_items` items: `threads` processes, or none where one thread or few items are given."""
    if threads <= 1 or n_items < WORTH_A_POOL:
        yield Workers(None, 1)
        return
    spawn = multiprocessing.get_context("spawn")  # forking a process that runs torch's threads can hang
    pool = ProcessPoolExecutor(threads, mp_context=spawn, initializer=_start_worker)
    try:
        yield Workers(pool, _AHEAD * threads)
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # the processes share the cores already
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: a pool's workers outlive a parent that was killed."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
