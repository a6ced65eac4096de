"""Progress of a long loop: a bar on a terminal, and lines with count, rate and remaining time in the log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_LINES: Final = 10
"""Lines in the log of one loop, if it does not take long."""

_SILENCE_S: Final = 300.0
"""Seconds after which there is a line also before the next tenth."""


@contextmanager
def progress(
    what: str, total: int, *, unit: str = "tiles", silence_s: float = _SILENCE_S
) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts some more units as done.

    Args:
        what: First words of each line, as ``"scored system=decoder"``.
        total: Number of units to do.
        unit: What is counted, in the plural.
        silence_s: Longest time without a line.
    """
    done, start = 0, time.monotonic()
    last_line = start

    def add(n: int) -> None:
        nonlocal done, last_line
        before, done = done, done + n
        bar.update(n)
        now, tenth = time.monotonic(), done * _LINES // total > before * _LINES // total
        if tenth or now - last_line >= silence_s:
            last_line, rate = now, done / max(now - start, 1e-9)
            left = timedelta(seconds=round((total - done) / rate))
            shown = f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
            log.info("%s %s=%d of=%d %s_per_s=%s left=%s", what, unit, done, total, unit, shown, left)

    with tqdm(desc=what, total=total, unit=f" {unit}", disable=not sys.stderr.isatty(), leave=False) as bar:
        yield add


def reported(
    items: Iterable[Item], what: str, total: int, *, unit: str = "tiles", size: Callable[[Any], int] = len
) -> Iterator[Item]:
    """Yield the same items; each is counted when the next is asked for. Arguments are those of `progress`.

    Args:
        size: Number of units of an item.
    """
    with progress(what, total, unit=unit) as add:
        for item in items:
            yield item
            add(size(item))
