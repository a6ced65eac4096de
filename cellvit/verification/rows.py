"""Rows of a store, hashed again and held against the hashes that were stored with them."""

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from cellvit.contracts.stores import ROW_SHA256
from cellvit.io.hdf5 import Store
from cellvit.io.rows import row_sha256
from cellvit.verification.progress import Reading

_BLOCK_BYTES: Final = 32_000_000
"""Rows in memory at a time."""

_HASHERS: Final = 2


class WrongRow(NamedTuple):
    """A row that is not what its hash says; `found` is a hash, or why the row cannot be read."""

    row: int
    expected: str
    found: str


class Rows(NamedTuple):
    """What a store's rows hash to.

    Attributes:
        content_sha256: Content hash that follows from the stored hashes of the rows.
    """

    wrong: tuple[WrongRow, ...]
    content_sha256: str


def hashed_again(store: Store, progress: Reading) -> Rows:
    """Every row of a store with `row_hashes`, hashed again; memory does not grow with the store."""
    stored = store.all(ROW_SHA256)
    wrong: list[WrongRow] = []
    progress.file(store.path)
    done = np.linspace(0, store.path.stat().st_size, len(store) + 1).astype(np.int64)  # as the bar counts bytes on disk
    with ThreadPoolExecutor(_HASHERS) as hashers:
        for rows in store.blocks(_rows_at_a_time(store)):
            wrong += _wrong_of(store, rows, stored, hashers)
            progress.add(int(done[rows[-1] + 1] - done[rows[0]]))
    return Rows(tuple(wrong), hashlib.sha256(stored.tobytes()).hexdigest())


def _rows_at_a_time(store: Store) -> int:
    columns = store.format.columns
    row_bytes = sum(math.prod(store.shape(c.name)[1:]) * np.dtype(c.dtype).itemsize for c in columns)
    return max(1, _BLOCK_BYTES // row_bytes)


def _wrong_of(
    store: Store, rows: Int64[np.ndarray, " b"], stored: UInt8[np.ndarray, "n 32"], hashers: ThreadPoolExecutor
) -> Iterator[WrongRow]:
    try:
        found = _hashes(store, rows, hashers)
    except OSError as error:  # of HDF5: a chunk is cut off, or is not what its checksum says
        if len(rows) == 1:
            yield WrongRow(int(rows[0]), stored[rows[0]].tobytes().hex(), f"unreadable ({error})")
            return
        for row in rows:
            yield from _wrong_of(store, row[None], stored, hashers)
        return
    for row, sha256 in zip(rows.tolist(), found, strict=True):
        if sha256 != stored[row].tobytes():
            yield WrongRow(row, stored[row].tobytes().hex(), sha256.hex())


def _hashes(store: Store, rows: Int64[np.ndarray, " b"], hashers: ThreadPoolExecutor) -> list[bytes]:
    names = [name for name in store.format.column_names if name != ROW_SHA256]
    columns = {name: store.read(name, rows) for name in names}
    ends = np.linspace(0, len(rows), _HASHERS + 1).astype(int).tolist()

    def of_part(part: tuple[int, int]) -> list[bytes]:
        return [row_sha256({name: values[row] for name, values in columns.items()}) for row in range(*part)]

    return [sha256 for hashes in hashers.map(of_part, pairwise(ends)) for sha256 in hashes]
