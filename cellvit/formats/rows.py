"""Rows of a store as they are written: checked, hashed on the way, in order."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import h5py
import numpy as np
from jaxtyping import Int64, UInt8

from cellvit.errors import ContractError
from cellvit.formats.digests import combined
from cellvit.formats.hdf5 import ROW_SHA256, SHA256_BYTES, Format

_HASHERS: Final = 2
"""Threads that hash rows while they are written, at most (sha256: about 1.3 GB/s a thread)."""

_COMPUTING_AND_WRITING: Final = 2
"""Processors that are busy already; where there are no more, a thread that hashes would only get in their way."""


class StoreWriter:
    """Appends rows to the columns of a store in order and hashes them on the way.

    Args:
        on_rows: Called after rows are in the file, with the number of the first and their hash (`row_hashes` only).
    """

    def __init__(
        self, file: h5py.File, fmt: Format, n: int, *, on_rows: Callable[[int, np.ndarray], None] | None = None
    ) -> None:
        self._datasets = {name: file[name] for name in fmt.column_names}
        self._format, self._n = fmt, n
        self._hashers = min(_HASHERS, max(0, _processors() - _COMPUTING_AND_WRITING))
        # Beside the writing, or, as `map` waits until it is asked, after it.
        self._hashed = ThreadPoolExecutor(self._hashers).map if self._hashers else map
        self._on_rows = on_rows
        self._row = 0
        self._digests = {name: hashlib.sha256() for name in fmt.column_names}

    @property
    def row(self) -> int:
        """Number of the row that is written next."""
        return self._row

    def append(self, **columns: np.ndarray) -> None:
        """Write the next rows; every column of the format is given, all of one length."""
        count = len(next(iter(columns.values())))
        given = self._checked(columns, count)
        if self._format.row_hashes:
            parts = np.array_split(np.arange(count), max(1, self._hashers))
            pending = self._hashed(lambda rows: b"".join(_rows_sha256(given, rows)), parts)
            self._write(given)
            given = {ROW_SHA256: np.frombuffer(b"".join(pending), np.uint8).reshape(count, SHA256_BYTES)}
        self._write(given)
        self._row += count
        if self._on_rows is not None:
            self._on_rows(self._row - count, given[ROW_SHA256])

    def skip(self, hashes: UInt8[np.ndarray, "b 32"]) -> None:
        """Take rows as written that were found in the file with these hashes."""
        self._digests[ROW_SHA256].update(hashes.tobytes())
        self._row += len(hashes)

    def content_sha256(self) -> str:
        """Hash of everything written; raises where rows are missing."""
        if self._row != self._n:
            raise ContractError(f"{self._format.name}: {self._n} rows announced, {self._row} written")
        if self._format.row_hashes:
            return self._digests[ROW_SHA256].hexdigest()
        return combined({name: digest.hexdigest() for name, digest in self._digests.items()})

    def _checked(self, columns: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        """Columns in the format's order, without that of the rows' hashes."""
        if self._row + count > self._n:
            raise ContractError(f"{self._format.name}: {self._n} rows announced, more are written")
        checked: dict[str, np.ndarray] = {}
        for column in self._format.columns:
            if self._format.row_hashes and column.name == ROW_SHA256:
                continue
            dataset = self._datasets[column.name]
            shape = (count, *dataset.shape[1:])
            missing = column.unknown and columns.get(column.name) is None
            rows = np.zeros(shape, dataset.dtype) if missing else np.ascontiguousarray(columns[column.name])
            if rows.dtype != dataset.dtype or rows.shape != shape:
                raise ContractError(
                    f"{self._format.name}: rows of `{column.name}` must be {dataset.dtype} {shape}, "
                    f"found {rows.dtype} {rows.shape}"
                )
            checked[column.name] = rows
        return checked

    def _write(self, columns: dict[str, np.ndarray]) -> None:
        """Selections are made by hand: h5py's own take as long as writing a tile, and keep other threads waiting."""
        for name, rows in columns.items():
            place = self._datasets[name].id.get_space()
            place.select_hyperslab((self._row, *(0,) * (rows.ndim - 1)), rows.shape)
            self._datasets[name].id.write(h5py.h5s.create_simple(rows.shape), place, rows)
            if not self._format.row_hashes or name == ROW_SHA256:
                self._digests[name].update(rows.tobytes())


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rows_sha256(columns: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " r"]) -> Iterator[bytes]:
    return (row_sha256({name: values[row] for name, values in columns.items()}) for row in rows)


def row_sha256(columns: Mapping[str, np.ndarray]) -> bytes:
    """Hash of one row of the columns of a store, in their order."""
    digest = hashlib.sha256()
    for values in columns.values():
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.digest()
