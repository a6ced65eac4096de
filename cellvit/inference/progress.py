"""Progress of a long loop: a bar on a terminal, and in the log lines with count, rate and the time that is left."""

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
"""Lines in the log of one loop, where it does not take long."""

_SILENCE_S: Final = 300.0
"""Seconds without a line at most, as far as the loop comes round."""


class Progress:
    """Counts what a loop has done; use it in a `with` block.

    Args:
        what: First words of each line, as ``"judged system=oracle"``.
        total: What there is to do.
        unit: What is counted, in the plural.
        silence_s: Seconds after which there is a line, also before the next tenth.
    """

    def __init__(self, what: str, total: int, *, unit: str = "tiles", silence_s: float = _SILENCE_S) -> None:
        self._what, self._total, self._unit, self._silence_s = what, total, unit, silence_s
        self._done = 0
        self._start = self._said = time.monotonic()
        self._bar: tqdm = tqdm(desc=what, total=total, unit=f" {unit}", disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def add(self, n: int = 1) -> None:
        """Count `n` more as done."""
        before, self._done = self._done, self._done + n
        self._bar.update(n)
        now = time.monotonic()
        if self._done * _LINES // self._total > before * _LINES // self._total or now - self._said >= self._silence_s:
            self._said = now
            self._say(now - self._start)

    def _say(self, seconds: float) -> None:
        rate = self._done / max(seconds, 1e-9)
        left = timedelta(seconds=round((self._total - self._done) / rate))
        shown = f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
        unit = self._unit
        log.info("%s %s=%d of=%d %s_per_s=%s left=%s", self._what, unit, self._done, self._total, unit, shown, left)


def reported(
    items: Iterable[Item], what: str, total: int, *, unit: str = "tiles", size: Callable[[Any], int] = len
) -> Iterator[Item]:
    """Yield the same items, each counted when the next is asked for; words and numbers as in `Progress`.

    Args:
        size: How much of the total an item is.
    """
    with Progress(what, total, unit=unit) as progress:
        for item in items:
            yield item
            progress.add(size(item))
