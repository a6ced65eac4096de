"""How far a long reading is: a bar on a terminal, a line in the log every few gigabytes otherwise."""

import logging
import sys
from pathlib import Path
from typing import Final

from tqdm import tqdm

log = logging.getLogger(__name__)

_LINE_BYTES: Final = 2_000_000_000
"""Bytes between two lines of the log: some seconds on a good disk."""


class Progress:
    """Bytes that were read, of all that will be.

    Args:
        total: Bytes of the files that will be read.
    """

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty())
        self._total, self._read, self._said = total, 0, 0

    def file(self, path: Path) -> None:
        """Say which file is read from now on."""
        self._bar.set_postfix_str(path.name)
        if path.stat().st_size > _LINE_BYTES:
            log.info("reading file=%s gigabytes=%.1f", path, path.stat().st_size / 1e9)

    def add(self, count: int) -> None:
        """Count bytes that were read."""
        self._bar.update(count)
        self._read += count
        if self._read - self._said >= _LINE_BYTES:
            self._said = self._read
            log.info("read gigabytes=%.1f of=%.1f", self._read / 1e9, self._total / 1e9)

    def say(self, line: str) -> None:
        """Write a line to standard output, over the bar."""
        with tqdm.external_write_mode(file=sys.stdout):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
