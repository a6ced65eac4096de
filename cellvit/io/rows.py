"""Rows of a store as they are written: checked, hashed on the way, in order."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
from jaxtyping import Int64, UInt8

from cellvit.contracts.stores import ROW_SHA256, SHA256_BYTES, Format
from cellvit.errors import ContractError
from cellvit.io.hashing import combined

_HASHERS = 2
"""Threads that hash rows while they are written (sha256: about 1.3 GB/s a thread)."""


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
        self._hashers = ThreadPoolExecutor(_HASHERS)  # beside the writing: either takes about half a millisecond a tile
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
            parts = np.array_split(np.arange(count), _HASHERS)
            pending = self._hashers.map(lambda rows: b"".join(_rows_sha256(given, rows)), parts)
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
        for name, rows in columns.items():
            self._datasets[name][self._row : self._row + len(rows)] = rows
            if not self._format.row_hashes or name == ROW_SHA256:
                self._digests[name].update(rows.tobytes())


def _rows_sha256(columns: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " r"]) -> Iterator[bytes]:
    return (row_sha256({name: values[row] for name, values in columns.items()}) for row in rows)


def row_sha256(columns: Mapping[str, np.ndarray]) -> bytes:
    """Hash of one row of the columns of a store, in their order."""
    digest = hashlib.sha256()
    for values in columns.values():
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.digest()
