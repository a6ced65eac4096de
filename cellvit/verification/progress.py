"""How far the reading of a run is: `cellvit.io.progress` in megabytes, and lines of a table over its bar."""

import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tqdm import tqdm

from cellvit.io.progress import Progress

log = logging.getLogger(__name__)

_MB: Final = 1_000_000

_LONG_MB: Final = 1_000
"""What takes a second or more to read: less is read in silence."""


class Reading:
    """Bytes that were read, of all that will be.

    Args:
        total: Bytes of the files that will be read.
    """

    def __init__(self, total: int) -> None:
        self._open = ExitStack()
        long = total >= _LONG_MB * _MB
        self._progress = self._open.enter_context(Progress("read", total // _MB, unit="MB")) if long else None
        self._rest = 0

    def file(self, path: Path) -> None:
        """Say which file is read from now on, where that takes a while."""
        size = path.stat().st_size // _MB
        if size >= _LONG_MB:
            log.info("reading file=%s MB=%d", path, size)

    def add(self, count: int) -> None:
        """Count bytes that were read."""
        whole, self._rest = divmod(self._rest + count, _MB)
        if self._progress is not None and whole:
            self._progress.add(whole)

    def say(self, line: str) -> None:
        """Write a line to standard output, over the bar."""
        with tqdm.external_write_mode(file=sys.stdout):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Take the bar away."""
        self._open.close()
