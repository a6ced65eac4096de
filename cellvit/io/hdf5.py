"""HDF5 stores: written in order to a temporary name, hashed on the way, marked complete last."""

import hashlib
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from cellvit.contracts.provenance import Provenance
from cellvit.contracts.stores import Column, Format
from cellvit.errors import ContractError, MissingInputError
from cellvit.io.atomic import replacing
from cellvit.io.hashing import combined

_SPARE_BYTES = 64 << 20
"""Space left on the disk beside a store; h5py dies without an exception where the disk is full."""


class StoreWriter:
    """Appends rows to the columns of a store in order and hashes them on the way."""

    def __init__(self, file: h5py.File, fmt: Format, n: int) -> None:
        self._file, self._format, self._n = file, fmt, n
        self._row = 0
        self._digests = {name: hashlib.sha256() for name in fmt.column_names}

    def append(self, **columns: np.ndarray) -> None:
        """Write the next rows; every column of the format is given, all of one length."""
        count = len(next(iter(columns.values())))
        for column in self._format.columns:
            dataset, rows = self._file[column.name], np.ascontiguousarray(columns[column.name])
            if rows.dtype != dataset.dtype or rows.shape != (count, *dataset.shape[1:]):
                raise ContractError(
                    f"{self._format.name}: rows of `{column.name}` must be {dataset.dtype} {(count, *dataset.shape[1:])}, "
                    f"found {rows.dtype} {rows.shape}"
                )
            dataset[self._row : self._row + count] = rows
            self._digests[column.name].update(rows.tobytes())
        self._row += count

    def content_sha256(self) -> str:
        """Hash of everything written; raises where rows are missing."""
        if self._row != self._n:
            raise ContractError(f"{self._format.name}: {self._n} rows announced, {self._row} written")
        return combined({name: digest.hexdigest() for name, digest in self._digests.items()})


@contextmanager
def writing(path: Path, fmt: Format, n: int, sizes: Mapping[str, int], origin: Provenance) -> Iterator[StoreWriter]:
    """Yield a writer for `n` rows; the store appears at `path`, whole, when the block ends without error.

    Args:
        sizes: Size of every named axis of the format.

    Raises:
        MissingInputError: The disk has too little space.
    """
    shapes = {column.name: _shape(column, n, sizes) for column in fmt.columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_space(path, sum(math.prod(shapes[c.name]) * np.dtype(c.dtype).itemsize for c in fmt.columns))
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for column in fmt.columns:
            _create(file, column, shapes[column.name])
        writer = StoreWriter(file, fmt, n)
        yield writer
        seal(file, fmt, writer.content_sha256(), origin)


def seal(file: h5py.File, fmt: Format, content_sha256: str, origin: Provenance) -> None:
    """Write the header; the mark of completeness is last."""
    file.attrs["format"] = fmt.name
    file.attrs["format_version"] = fmt.version
    file.attrs["content_sha256"] = content_sha256
    file.attrs["provenance"] = origin.model_dump_json()
    file.flush()
    file.attrs["complete"] = True


class Store:
    """A store open for reading; use it in a `with` block.

    Raises:
        MissingInputError: There is no file.
        ContractError: The file is no HDF5, is not complete, or has another format, version, column, dtype or shape.
    """

    def __init__(self, path: Path, fmt: Format) -> None:
        self.path, self.format = path, fmt
        self._file = _open(path)
        try:
            _check_header(self._file, path, fmt)
        except ContractError:
            self._file.close()
            raise
        self.provenance = Provenance.model_validate_json(self._file.attrs["provenance"])
        self.content_sha256 = str(self._file.attrs["content_sha256"])

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return int(self._file[self.format.column_names[0]].shape[0])

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of a column, rows first."""
        return tuple(self._file[column].shape)

    def read(self, column: str, rows: np.ndarray) -> np.ndarray:
        """Rows of a column in the order asked for, one chunk a read (fancy indexing is 17 to 70 times slower)."""
        return self.read_part(column, rows, ())

    def read_part(self, column: str, rows: np.ndarray, index: tuple[int | slice, ...]) -> np.ndarray:
        """As `read`, but only ``column[row, *index]`` of each row."""
        dataset = self._file[column]
        probe = np.empty(dataset.shape[1:], dtype=bool)[index].shape if index else dataset.shape[1:]
        out = np.empty((len(rows), *probe), dataset.dtype)
        for position, row in enumerate(rows):
            dataset.read_direct(out, np.s_[int(row), *index], np.s_[position])
        return out

    def all(self, column: str) -> np.ndarray:
        """A whole small column."""
        return np.asarray(self._file[column][()])

    def names(self, column: str) -> tuple[str, ...]:
        """A whole column of names."""
        return tuple(name.decode() for name in self._file[column][()].tolist())

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """Row numbers in blocks of at most `size`, in order."""
        for start in range(0, len(self), size):
            yield np.arange(start, min(start + size, len(self)))


def as_names(names: tuple[str, ...], dtype: str) -> np.ndarray:
    """Names as fixed UTF-8; a name that does not fit is refused, never cut."""
    width = np.dtype(dtype).itemsize
    too_long = [name for name in names if len(name.encode()) > width]
    if too_long:
        raise ContractError(f"names hold at most {width} bytes of UTF-8, found {too_long[:3]}")
    return np.array([name.encode() for name in names], dtype=dtype)


def _shape(column: Column, n: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return (n, *(axis if isinstance(axis, int) else sizes[axis] for axis in column.axes))


def _create(file: h5py.File, column: Column, shape: tuple[int, ...]) -> None:
    if not column.axes or not shape[0]:
        file.create_dataset(column.name, shape, column.dtype)
        return
    lead = (1, 1, 1) if column.name == "tokens" else (1,)  # one chunk a tile, view and tap
    chunk = (*lead, *shape[len(lead) :])
    squeeze = {"compression": "lzf", "shuffle": True} if column.squeezes else {}
    file.create_dataset(column.name, shape, column.dtype, chunks=chunk, fletcher32=True, **squeeze)


def _check_space(path: Path, wanted: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < wanted + _SPARE_BYTES:
        raise MissingInputError(
            f"{path}: needs {wanted / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free. "
            "Free some space, or set `results` to a folder on another disk."
        )


def _open(path: Path) -> h5py.File:
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ContractError(
            f"{path}: no readable HDF5 file ({error}). Remove it and make it again: snakemake -- {path}"
        ) from error


def _check_header(file: h5py.File, path: Path, fmt: Format) -> None:
    remedy = f"Make it again: rm {path} && snakemake -- {path}"
    found = {name: file.attrs.get(name) for name in ("format", "format_version")}
    if (found["format"], found["format_version"]) != (fmt.name, fmt.version):
        raise ContractError(
            f"{path}: expected format {fmt.name} version {fmt.version}, "
            f"found {found['format']} version {found['format_version']}. {remedy}"
        )
    if not file.attrs.get("complete"):
        raise ContractError(f"{path}: the mark of completeness is missing; its writer was stopped. {remedy}")
    n = None
    for column in fmt.columns:
        dataset = file.get(column.name)
        if dataset is None or dataset.dtype != np.dtype(column.dtype) or not _fits(dataset.shape, column, n):
            shown = "nothing" if dataset is None else f"{dataset.dtype} {dataset.shape}"
            raise ContractError(
                f"{path}: `{column.name}` must be {column.dtype} {('n', *column.axes)}, found {shown}. {remedy}"
            )
        n = dataset.shape[0]


def _fits(shape: tuple[int, ...], column: Column, n: int | None) -> bool:
    fixed = all(isinstance(axis, str) or axis == size for axis, size in zip(column.axes, shape[1:], strict=False))
    return len(shape) == 1 + len(column.axes) and (n is None or shape[0] == n) and fixed
