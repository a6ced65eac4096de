"""Space that a large file has on the disk before it is written, and what is written reaching the disk meanwhile."""

import errno
import io
import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np

from cellvit.errors import MissingInputError

log = logging.getLogger(__name__)

_HOLE: Final = 4096
"""Bytes from which a piece of zeros is left out: a page of the disk's cache."""

_SYNCED: Final = 32 << 20
"""Bytes after which what is written is sent to the disk: some hundredths of a second of a fast one."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or the user's part of it, is full."""


class _Sparse(io.FileIO):
    """A new file, in which pieces of zeros are left as holes: read, it is the same."""

    def write(self, piece: bytes | memoryview) -> int:  # type: ignore[override]
        if len(piece) >= _HOLE and not np.frombuffer(piece, np.uint8).any():
            self.seek(len(piece), os.SEEK_CUR)
            return len(piece)
        return super().write(piece)


@contextmanager
def reserving(path: Path) -> Iterator[io.FileIO]:
    """Yield a new file for HDF5 to lay out; at the end its space on the disk is its own, though nothing of it is written.

    HDF5 writes every chunk of a dataset with a filter when it gives it its place: a store would be written twice.

    Raises:
        MissingInputError: The disk has too little space; the file is removed.
    """
    with _Sparse(path, "w+") as file:
        yield file
        try:
            _reserve(file)
        except OSError as error:
            if error.errno not in _FULL:
                log.info("space not reserved file=%s because the file system cannot (%s)", path, error.strerror)
                return
            size = os.fstat(file.fileno()).st_size
            path.unlink()
            raise MissingInputError(
                f"{path}: needs {size / 1e9:.2f} GB, and the disk (or your quota of it) has no such space. "
                "Free some, or set `results` to a folder on another disk."
            ) from error


def _reserve(file: io.FileIO) -> None:
    size = os.fstat(file.fileno()).st_size
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


class Syncing:
    """Sends what is written to a file to the disk in a thread, so that the last `fsync` finds little left.

    The kernel by itself may keep gigabytes for half a minute. Use it in a `with` block, whose end waits for the disk.

    Raises:
        OSError: The disk refused what was written, by the next `wrote` or at the end of the block.
    """

    def __init__(self, path: Path, *, every: int = _SYNCED) -> None:
        self._file = path.open("rb")
        self._every, self._written = every, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> "Syncing":
        return self

    def wrote(self, n_bytes: int) -> None:
        """Note that so much more is written; does not wait."""
        self._written += n_bytes
        if self._written < self._every or (self._under_way and not self._under_way.done()):
            return
        if self._under_way:
            self._under_way.result()
        self._written = 0
        self._under_way = self._thread.submit(os.fsync, self._file.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        try:
            if error is None:
                os.fsync(self._file.fileno())
                if self._under_way:
                    self._under_way.result()
        finally:
            self._file.close()
