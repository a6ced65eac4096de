"""Work in a thread beside the caller's: in order, and at most a few items late."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

WAITING: Final = 2
"""Items that may wait while one is worked on: enough for an uneven disk, with the memory of three items."""


class Background(Generic[Item]):
    """Calls ``work(item)`` for each item in a thread; use it in a `with` block, whose end waits for the last item.

    After an exception of `work`, no further item is worked on; the next `put`, or the end of the block, raises it.

    Examples:
        >>> done = []
        >>> with Background(done.append) as background:
        ...     background.put("a")
        ...     background.put("b")
        >>> done
        ['a', 'b']
    """

    def __init__(self, work: Callable[[Item], object], *, waiting: int = WAITING) -> None:
        self._work, self._most = work, waiting
        self._waiting: deque[Future[None]] = deque()
        self._stopped = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="background")

    def __enter__(self) -> "Background[Item]":
        return self

    def put(self, item: Item) -> None:
        """Hand over an item; blocks while too many are waiting."""
        self._waiting.append(self._thread.submit(self._worked, item))
        while len(self._waiting) > self._most or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = self._stopped or error is not None
        self._thread.shutdown(wait=True, cancel_futures=error is not None)
        if error is None:
            for future in self._waiting:
                future.result()

    def _worked(self, item: Item) -> None:
        if self._stopped:
            return
        try:
            self._work(item)
        except BaseException:
            self._stopped = True
            raise
