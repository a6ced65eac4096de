"""Formats of the HDF5 stores: names, dtypes, axes, versions (docs/formats.md in words).
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import h5py
import numpy as np
from jaxtyping import Shaped

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.atomic import replacing
from cellvit.formats.provenance import Provenance
from cellvit.formats.rows import StoreWriter


@dataclass(frozen=True, slots=True)
class Column:
    """One dataset of a store; the first axis is always the tile.

    Attributes:
        axes: Sizes after the first axis; a name where the size belongs to the store, a number where it is fixed.
        squeezes: True where lossless compression pays (maps of few values).
        unknown: True where a writer may leave the column out; zeros then say that nothing is known.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...] = ()
    squeezes: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A store's name, version and columns. A reader refuses any other version.

    Attributes:
        row_hashes: True where the writer adds the column `ROW_SHA256`, and the content hash is taken over it: it then does
            not depend on how the rows are spread over files, and rows can be checked one by one.
    """

    name: str
    version: int
    columns: tuple[Column, ...]
    row_hashes: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the datasets in the order in which they are hashed."""
        return tuple(column.name for column in self.columns)

    def dtype_of(self, name: str) -> str:
        """Dtype of the column of that name."""
        return next(column.dtype for column in self.columns if column.name == name)


SHA256_BYTES: Final = 32


ROW_SHA256: Final = "sha256"
"""Name of the column that holds the hash of each row's other columns."""


_ROW_COLUMN = Column(ROW_SHA256, "uint8", (SHA256_BYTES,))


_SPARE_BYTES = 64 << 20
"""Space left on the disk beside a store; h5py dies without an exception where the disk is full."""


_LEAST_CHUNK = 256
"""Bytes of a row from which a column has one chunk a row: hashes and names lie together."""


@contextmanager
def writing(path: Path, fmt: Format, n: int, sizes: Mapping[str, int], origin: Provenance) -> Iterator[StoreWriter]:
    """Yield a writer for `n` rows; the store appears at `path`, whole, when the block ends without error.

    Args:
        sizes: Size of every named axis of the format.

    Raises:
        MissingInputError: The disk has too little space.
    """
    check_space(path, fmt, n, sizes)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        create_columns(file, fmt, n, sizes)
        writer = StoreWriter(file, fmt, n)
        yield writer
        seal(file, fmt, writer.content_sha256(), origin)


def create_columns(file: h5py.File, fmt: Format, n: int, sizes: Mapping[str, int], *, allocated: bool = False) -> None:
    """Create the datasets of a format in an empty file; `allocated` gives every row its place at once."""
    for column in fmt.columns:
        _create(file, column, _shape(column, n, sizes), allocated=allocated)


def check_space(path: Path, fmt: Format, n: int, sizes: Mapping[str, int]) -> None:
    """Raise MissingInputError where the disk of `path` has too little space for a store of `n` rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = {column.name: _shape(column, n, sizes) for column in fmt.columns}
    wanted = sum(math.prod(shapes[column.name]) * np.dtype(column.dtype).itemsize for column in fmt.columns)
    free = shutil.disk_usage(path.parent).free
    if free < wanted + _SPARE_BYTES:
        raise MissingInputError(
            f"{path}: needs {wanted / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free. "
            "Free some space, or set `results` to a folder on another disk."
        )


def seal(file: h5py.File, fmt: Format, content_sha256: str, origin: Provenance) -> None:
    """Write the header; the mark of completeness is last."""
    file.attrs["format"] = fmt.name
    file.attrs["format_version"] = fmt.version
    file.attrs["content_sha256"] = content_sha256
    file.attrs["provenance"] = origin.model_dump_json()
    file.flush()
    file.attrs["complete"] = True


ELSEWHERE = "elsewhere"
"""Attribute with the names of virtual columns, as JSON. They are not opened here: HDF5 takes seconds to unpack the rows of
one with tens of thousands, at every opening (`cellvit.formats.spread` reads what they stand for)."""


class Store:
    """A store open for reading; use it in a `with` block.

    Raises:
        MissingInputError: There is no file.
        ContractError: The file is no HDF5, is not complete, or has another format, version, column, dtype or shape.
    """

    def __init__(self, path: Path, fmt: Format) -> None:
        self.path, self.format = path, fmt
        self._file = _open(path)
        self._datasets: dict[str, h5py.Dataset] = {}
        self.elsewhere = frozenset(json.loads(self._file.attrs.get(ELSEWHERE, "[]")))
        try:
            _check_header(self._file, path, fmt, self.elsewhere)
        except ContractError:
            self._file.close()
            raise
        self.provenance = Provenance.model_validate_json(self._file.attrs["provenance"])
        self.content_sha256 = str(self._file.attrs["content_sha256"])

    def attribute(self, name: str) -> str | None:
        """Text that its writer added to the header; None where it added none of that name."""
        found = self._file.attrs.get(name)
        return None if found is None else str(found)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a `with` block does it by itself."""
        self._file.close()

    def __len__(self) -> int:
        own = next(name for name in self.format.column_names if name not in self.elsewhere)
        return int(self._dataset(own).shape[0])

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of a column, rows first."""
        return tuple(self._dataset(column).shape)

    def read(self, column: str, rows: np.ndarray) -> np.ndarray:
        """Rows of a column in the order asked for, one chunk a read (fancy indexing is 17 to 70 times slower)."""
        return self.read_part(column, rows, ())

    def read_part(self, column: str, rows: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
        """As `read`, but only ``column[row, *index]`` of each row."""
        shape = self.shape(column)[1 + len(index) :]
        out = np.empty((len(rows), *shape), self.format.dtype_of(column))
        self.read_into(column, rows, out, index)
        return out

    def read_into(
        self, column: str, rows: np.ndarray, out: Shaped[np.ndarray, "..."], index: tuple[int, ...] = ()
    ) -> None:
        """As `read_part`, into an array whose entries are each in one piece.

        Selections are made by hand: h5py's own take a fifth of the time of a chunk.
        """
        shape = self.shape(column)[1 + len(index) :]
        block, memory = (1,) * (1 + len(index)) + shape, h5py.h5s.create_simple((1, *shape))
        for position, row in enumerate(rows.tolist()):
            dataset, own = self._place(column, row)
            place = dataset.id.get_space()
            place.select_hyperslab((own, *index, *(0,) * len(shape)), block)
            dataset.id.read(memory, place, out[position : position + 1])

    def _place(self, column: str, row: int) -> tuple[h5py.Dataset, int]:
        """The dataset that holds a row, and the row's number there."""
        return self._dataset(column), row

    def _dataset(self, column: str) -> h5py.Dataset:
        """A column; each is looked up once."""
        if column not in self._datasets:
            self._datasets[column] = self._file[column]
        return self._datasets[column]

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


def _create(file: h5py.File, column: Column, shape: tuple[int, ...], *, allocated: bool) -> None:
    place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if allocated:
        place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    if math.prod(shape[1:]) * np.dtype(column.dtype).itemsize < _LEAST_CHUNK or not shape[0]:
        file.create_dataset(column.name, shape, column.dtype, dcpl=place)
        return
    lead = (1, 1, 1) if column.name == "tokens" else (1,)  # one chunk a tile, view and tap
    chunk = (*lead, *shape[len(lead) :])
    squeeze = {"compression": "lzf", "shuffle": True} if column.squeezes else {}
    file.create_dataset(column.name, shape, column.dtype, dcpl=place, chunks=chunk, fletcher32=True, **squeeze)


def _open(path: Path) -> h5py.File:
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ContractError(
            f"{path}: no readable HDF5 file ({error}). Remove it and make it again: snakemake -- {path}"
        ) from error


def _check_header(file: h5py.File, path: Path, fmt: Format, elsewhere: frozenset[str]) -> None:
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
        if column.name in elsewhere:
            continue
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
