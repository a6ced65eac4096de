"""Writing HDF5 stores: whole or not at all, and, where that takes long, resumed after a kill."""

import hashlib
import json
import logging
import math
import os
import resource
import shlex
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import h5py
import numpy as np
from jaxtyping import Int64

from cellvit.errors import CellvitError, ContractError, IntegrityError, MissingInputError
from cellvit.formats.atomic import replacing
from cellvit.formats.digests import differences
from cellvit.formats.hdf5 import ROW_SHA256, SHA256_BYTES, Column, Format, check_columns
from cellvit.formats.hdf5_header import StoreHeader, read_text, undamaged, write_store_header, write_text
from cellvit.formats.locks import locked
from cellvit.formats.provenance import Provenance
from cellvit.systems import usable_processors

log = logging.getLogger(__name__)

PARTIAL: Final = ".partial"
"""Folder of unfinished work beside the outputs: Snakemake deletes the outputs of a failed job, and these must remain."""

_MADE_BY: Final = "made_by"
"""Attribute of an unfinished store: everything that decides its rows, as JSON."""

_SPARE_BYTES: Final = 64 << 20
"""Space that must stay free on the disk beside a store; h5py crashes without an exception where the disk is full."""

_LEAST_CHUNK: Final = 256
"""Bytes of a row from which a column has one chunk a row; digests and names are stored together."""

_HASHERS: Final = 2
"""Threads that hash rows while they are written, at most (sha256: about 1.3 GB/s a thread)."""

_BUSY_PROCESSORS: Final = 2
"""Processors that compute and write; hashing has threads of its own only where there are more."""


class Unfinished(NamedTuple):
    """A store that its writer did not finish, open for writing, and the number of rows that it holds."""

    file: h5py.File
    rows: int


class StoreWriter:
    """Appends rows to the columns of a store in order; the last column receives the digest of each row."""

    def __init__(self, file: h5py.File, fmt: Format, n: int, row: int = 0) -> None:
        """Begin at `row`; the rows before it are in the file."""
        self._file = file
        self._datasets = {column.name: file[column.name] for column in fmt.columns}
        self._format, self._n = fmt, n
        self._hashers = min(_HASHERS, max(0, usable_processors() - _BUSY_PROCESSORS))
        self._map = ThreadPoolExecutor(self._hashers).map if self._hashers else map
        self.rewind(row)

    def append(self, **columns: np.ndarray) -> None:
        """Write the next rows; every column of the format but that of the digests is given, all of one length."""
        count = len(next(iter(columns.values())))
        given = self._checked(columns, count)
        parts = np.array_split(np.arange(count), max(1, self._hashers))

        def hashed(rows: Int64[np.ndarray, " r"]) -> bytes:
            return b"".join(row_sha256({name: values[row] for name, values in given.items()}) for row in rows)

        pending = self._map(hashed, parts)
        self._write(given)
        digests = np.frombuffer(b"".join(pending), np.uint8).reshape(count, SHA256_BYTES)
        self._write({ROW_SHA256: digests})
        with _naming(Path(self._file.filename)):
            self._file.flush()  # HDF5 keeps small writes back otherwise, and a kill would lose them
        self._content.update(digests.tobytes())
        self.row += count

    def rewind(self, row: int) -> None:
        """Go back to `row`, from which on rows are written again."""
        digests = np.asarray(self._datasets[ROW_SHA256][:row])
        self._content, self.row = hashlib.sha256(digests.tobytes()), row

    def content_sha256(self) -> str:
        """Digest of all rows.

        Raises:
            ContractError: Rows are missing.
        """
        if self.row != self._n:
            raise ContractError(f"{self._format.name}: {self._n} rows were announced, {self.row} were written")
        return self._content.hexdigest()

    def _checked(self, columns: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        if self.row + count > self._n:
            raise ContractError(f"{self._format.name}: {self._n} rows were announced, more were written")
        checked = {}
        for column in self._format.data_columns:
            dataset, rows = self._datasets[column.name], np.ascontiguousarray(columns[column.name])
            shape = (count, *dataset.shape[1:])
            if rows.dtype != dataset.dtype or rows.shape != shape:
                raise ContractError(
                    f"{self._format.name}: rows of `{column.name}` must be {dataset.dtype} {shape}, "
                    f"found {rows.dtype} {rows.shape}"
                )
            checked[column.name] = rows
        return checked

    def _write(self, columns: Mapping[str, np.ndarray]) -> None:
        """Write through the low-level interface: h5py's own selections take as long as writing a tile."""
        for name, rows in columns.items():
            place = self._datasets[name].id.get_space()
            place.select_hyperslab((self.row, *(0,) * (rows.ndim - 1)), rows.shape)
            with _naming(Path(self._file.filename)):
                self._datasets[name].id.write(h5py.h5s.create_simple(rows.shape), place, rows)


@contextmanager
def writing(path: Path, fmt: Format, n: int, sizes: Mapping[str, int], origin: Provenance) -> Iterator[StoreWriter]:
    """Yield a writer for `n` rows; the store appears at `path`, whole, when the block ends without error.

    Args:
        sizes: Size of every named axis of the format.

    Raises:
        MissingInputError: The disk has too little space.
    """
    _check_space(path, fmt, n, sizes)
    with replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        _create_columns(file, fmt, n, sizes)
        writer = StoreWriter(file, fmt, n)
        yield writer
        _complete(file, fmt, writer, origin)


@contextmanager
def resumable_writing(
    path: Path, fmt: Format, n: int, sizes: Mapping[str, int], origin: Provenance, *, made_by: Mapping[str, str]
) -> Iterator[StoreWriter]:
    """As `writing`, but a block that does not end leaves its rows to the next run, which continues after them.

    Rows count as written where their content has the digest that is stored beside it. The yielded writer's `row` is
    the first one that is still to be written.

    Args:
        made_by: Everything that decides the rows, by name; unfinished rows made by anything else are not used.

    Raises:
        MissingInputError: The disk has too little space.
        BusyFolderError: Another process is writing the store.
    """
    partial = path.parent / PARTIAL / path.name
    with locked(partial.with_name(f"{partial.name}.lock"), "writes this store"):
        found = _unfinished(partial, fmt, made_by)
        if found is None:
            _check_space(partial, fmt, n, sizes)
            with replacing(partial) as temporary, h5py.File(temporary, "w", locking=False) as file:
                _create_columns(file, fmt, n, sizes)
                write_text(file, _MADE_BY, json.dumps(made_by, sort_keys=True))
            found = Unfinished(_open_unfinished(partial), 0)
        if found.rows:
            log.info("resumed store=%s rows=%d of=%d", path, found.rows, n)
        with found.file as file:
            writer = StoreWriter(file, fmt, n, found.rows)
            yield writer
            del file.attrs[_MADE_BY]
            _complete(file, fmt, writer, origin)
        with partial.open("rb") as finished:
            os.fsync(finished.fileno())
        partial.replace(path)


def row_sha256(columns: Mapping[str, np.ndarray]) -> bytes:
    """Digest of one row of a store, column by column in the order of the format."""
    digest = hashlib.sha256()
    for values in columns.values():
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.digest()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the name of the file to errors of HDF5, which leave it out."""
    try:
        yield
    except OSError as error:
        if error.errno:  # the disk is full, or the like
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise IntegrityError(
            f"{path}: expected a store to which rows can be added, found damaged data ({error}). "
            f"Fix: rm {shlex.quote(str(path))}, then run the step again"
        ) from error


def _create_columns(file: h5py.File, fmt: Format, n: int, sizes: Mapping[str, int]) -> None:
    """Create the datasets of a format in an empty file.

    Space for every row is allocated at once: writing rows then changes no metadata, and a writer that is killed
    leaves a file that opens.
    """
    for column in fmt.columns:
        shape = _shape(column, n, sizes)
        place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if not column.compressed:
            place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        if math.prod(shape[1:]) * np.dtype(column.dtype).itemsize < _LEAST_CHUNK or not n:
            file.create_dataset(column.name, shape, column.dtype, dcpl=place)
            continue
        chunks = (1,) * column.chunk_axes + shape[column.chunk_axes :]
        squeeze = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if column.compressed else {}
        file.create_dataset(column.name, shape, column.dtype, dcpl=place, chunks=chunks, fletcher32=True, **squeeze)


def _check_space(path: Path, fmt: Format, n: int, sizes: Mapping[str, int]) -> None:
    """Refuse to begin a store of `n` rows that does not fit on the disk.

    Raises:
        MissingInputError: The disk of `path` has too little space, or this shell limits the size of files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(math.prod(_shape(column, n, sizes)) * np.dtype(column.dtype).itemsize for column in fmt.columns)
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < needed + _SPARE_BYTES:
        raise MissingInputError(
            f"{path}: the store needs {needed / 1e9:.2f} GB, this shell limits files to {limit / 1e9:.2f} GB. "
            "Fix: ulimit -f unlimited"
        )
    free = shutil.disk_usage(path.parent).free
    if free < needed + _SPARE_BYTES:
        raise MissingInputError(
            f"{path}: the store needs {needed / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free. "
            "Fix: free some space, or set `results` to a folder on another disk."
        )


def _shape(column: Column, n: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return (n, *(axis if isinstance(axis, int) else sizes[axis] for axis in column.axes))


def _complete(file: h5py.File, fmt: Format, writer: StoreWriter, origin: Provenance) -> None:
    columns = tuple(column.name for column in fmt.columns)
    write_store_header(file, StoreHeader(fmt.name, fmt.version, columns, writer.content_sha256(), origin))


def _unfinished(partial: Path, fmt: Format, made_by: Mapping[str, str]) -> Unfinished | None:
    """The unfinished store, open for writing, if it can be continued; else None, and the log says why."""
    if not partial.exists():
        return None
    file, differing = None, ""
    try:
        with undamaged(partial, "unfinished store"):
            file = _open_unfinished(partial)
            differing = differences(json.loads(read_text(file, _MADE_BY) or "{}"), made_by)
            if not differing:
                check_columns(file, partial, fmt)
                return Unfinished(file, _rows_written(file, fmt))
    except CellvitError as error:
        differing = f"the file cannot be read ({error.__cause__ or error})"
    if file is not None:
        file.close()
    log.warning("starting from scratch: cannot resume because %s store=%s", differing, partial)
    return None


def _open_unfinished(partial: Path) -> h5py.File:
    """An unfinished store without a cache of chunks: rows reach the file when they are written."""
    return h5py.File(partial, "r+", locking=False, rdcc_nbytes=0)


def _rows_written(file: h5py.File, fmt: Format) -> int:
    """Number of rows, from the first on, whose content has the digest that is stored beside it."""
    digests = np.asarray(file[ROW_SHA256][()])
    names = [column.name for column in fmt.data_columns]
    for row, digest in enumerate(digests):
        try:
            actual = row_sha256({name: file[name][row] for name in names}) if digest.any() else b""
        except OSError:  # a chunk that does not have its own checksum
            actual = b""
        if actual != digest.tobytes():
            return row
    return len(digests)
