"""Progress of a long loop: a bar on a terminal, and lines with count, rate and remaining time in the log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_LINES: Final = 10
"""Lines in the log of one loop, if it does not take long."""

_SILENCE_S: Final = 300.0
"""Seconds after which there is a line also before the next tenth."""


class Progress:
    """Counts what a loop has done; use it in a `with` block.

    Args:
        what: First words of each line, as ``"scored system=decoder"``.
        total: Number of units to do.
        unit: What is counted, in the plural.
        silence_s: Longest time without a line.
    """

    def __init__(self, what: str, total: int, *, unit: str = "tiles", silence_s: float = _SILENCE_S) -> None:
        self._what, self._total, self._unit, self._silence_s = what, total, unit, silence_s
        self._done = 0
        self._start = self._last_line = time.monotonic()
        self._bar: tqdm = tqdm(desc=what, total=total, unit=f" {unit}", disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def add(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        before, self._done = self._done, self._done + n
        self._bar.update(n)
        now, tenth = time.monotonic(), self._done * _LINES // self._total > before * _LINES // self._total
        if tenth or now - self._last_line >= self._silence_s:
            self._last_line = now
            self._log(now - self._start)

    def _log(self, seconds: float) -> None:
        rate = self._done / max(seconds, 1e-9)
        left = timedelta(seconds=round((self._total - self._done) / rate))
        shown = f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
        unit = self._unit
        log.info("%s %s=%d of=%d %s_per_s=%s left=%s", self._what, unit, self._done, self._total, unit, shown, left)


def reported(
    items: Iterable[Item], what: str, total: int, *, unit: str = "tiles", size: Callable[[Any], int] = len
) -> Iterator[Item]:
    """Yield the same items; each is counted when the next is asked for. Arguments are those of `Progress`.

    Args:
        size: Number of units of an item.
    """
    with Progress(what, total, unit=unit) as progress:
        for item in items:
            yield item
            progress.add(size(item))
