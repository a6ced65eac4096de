"""HDF5 stores: a table of tiles, written in order to a temporary name, with a mark of completeness that is written last."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from jaxtyping import Shaped

from cellvit.errors import CellvitError, ContractError
from cellvit.formats.dataset import DataSet, check_same_data
from cellvit.formats.digests import combined, remake
from cellvit.formats.hdf5_header import damaged, open_hdf5, read_store_header, undamaged
from cellvit.formats.provenance import Provenance

SHA256_BYTES: Final = 32

ROW_SHA256: Final = "sha256"
"""Name of the column that holds the digest of each row's other columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """One dataset of a store; the first axis is always the tile.

    Attributes:
        axes: Sizes after the first axis; a name where the size belongs to the store, a number where it is fixed.
        compressed: True where lossless compression is worth its time (maps of few values).
        chunk_axes: Leading axes, rows included, that have a chunk for each entry.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...] = ()
    compressed: bool = False
    chunk_axes: int = 1


@dataclass(frozen=True, slots=True)
class Format:
    """A store's name, version and columns; the last is the digest of each row, of which the store's digest is made."""

    name: str
    version: int
    columns: tuple[Column, ...]

    @property
    def data_columns(self) -> tuple[Column, ...]:
        """Columns without that of the rows' digests, in the order in which they are hashed."""
        return tuple(column for column in self.columns if column.name != ROW_SHA256)


ROW_COLUMN: Final = Column(ROW_SHA256, "uint8", (SHA256_BYTES,))


class Rows(ABC):
    """Tiles that can be read row by row, wherever each row is stored.

    Attributes:
        path: File that is named in messages.
        provenance: Origin of the rows; that of the first store, since the stores of a selection agree in their settings.
    """

    path: Path
    format: Format
    provenance: Provenance

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def dataset(self) -> DataSet:
        """The data set of the tiles."""
        return self.provenance.dataset

    @abstractmethod
    def all(self, column: str) -> np.ndarray:
        """A whole small column."""

    @abstractmethod
    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of a column, rows first."""

    @abstractmethod
    def _place(self, column: str, row: int) -> tuple[h5py.Dataset, int]:
        """The dataset that holds a row, and the row's number there."""

    def read(self, column: str, rows: np.ndarray) -> np.ndarray:
        """Rows of a column in the order asked for, one chunk a read (fancy indexing is 17 to 70 times slower)."""
        dtype = next(one.dtype for one in self.format.columns if one.name == column)
        out = np.empty((len(rows), *self.shape(column)[1:]), dtype)
        self.read_into(column, rows, out)
        return out

    def read_into(
        self, column: str, rows: np.ndarray, out: Shaped[np.ndarray, "..."], index: tuple[int, ...] = ()
    ) -> None:
        """Read ``column[row, *index]`` of each row into an array whose entries are contiguous.

        The low-level selection is used because h5py's own takes a fifth of the time of a chunk.
        """
        shape = self.shape(column)[1 + len(index) :]
        block, memory = (1,) * (1 + len(index)) + shape, h5py.h5s.create_simple((1, *shape))
        for position, row in enumerate(rows.tolist()):
            dataset, own = self._place(column, row)
            place = dataset.id.get_space()
            place.select_hyperslab((own, *index, *(0,) * len(shape)), block)
            try:
                dataset.id.read(memory, place, out[position : position + 1])
            except (
                Exception
            ) as error:  # a chunk that contradicts its checksum, a disk that cannot be read, a damaged index
                raise damaged(Path(dataset.file.filename), f"`{column}`, row {own}", error) from error

    def names(self, column: str, rows: np.ndarray | None = None) -> tuple[str, ...]:
        """A column of names: all of them, or those at `rows` in that order."""
        found = self.all(column) if rows is None else self.read(column, rows)
        return tuple(name.decode() for name in found.tolist())

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """Row numbers in blocks of at most `size`, in order."""
        for start in range(0, len(self), size):
            yield np.arange(start, min(start + size, len(self)))


class Store(Rows):
    """A store open for reading; use it in a `with` block.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: The file is not HDF5, is not complete, or has another format, version, column, dtype or shape.
    """

    def __init__(self, path: Path, fmt: Format) -> None:
        self.path, self.format = path, fmt
        self._file = open_hdf5(path)
        self._datasets: dict[str, h5py.Dataset] = {}
        try:
            header = read_store_header(self._file, path, (fmt.name, fmt.version))
            with undamaged(path, "columns"):
                check_columns(self._file, path, fmt)
        except CellvitError:
            self._file.close()
            raise
        self.provenance, self.content_sha256 = header.provenance, header.content_sha256

    @property
    def digest(self) -> str:
        """Digest of the content: the rows, and the data set and the marks that later steps hand on."""
        return store_digest(self.content_sha256, self.provenance)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a `with` block does it at its end."""
        self._file.close()

    def __len__(self) -> int:
        return int(self._dataset(self.format.columns[0].name).shape[0])

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of a column, rows first."""
        return tuple(self._dataset(column).shape)

    def all(self, column: str) -> np.ndarray:
        """A whole small column."""
        with undamaged(self.path, f"`{column}`"):
            return np.asarray(self._dataset(column)[()])

    def _place(self, column: str, row: int) -> tuple[h5py.Dataset, int]:
        return self._dataset(column), row

    def _dataset(self, column: str) -> h5py.Dataset:
        """A column; each is looked up once."""
        if column not in self._datasets:
            with undamaged(self.path, f"`{column}`"):
                self._datasets[column] = self._file[column]
        return self._datasets[column]


class Selection(Rows):
    """Selected rows of several stores of one format, read as if they were one store."""

    def __init__(self, path: Path, stores: Sequence[Rows], rows: Sequence[np.ndarray]) -> None:
        """Select `rows` of each of `stores`, in that order; `path` is the file that lists them.

        Raises:
            StaleFileError: The stores are of different data sets.
        """
        for store in stores[1:]:
            check_same_data(stores[0].path, stores[0].dataset, store.path, store.dataset)
        self.path, self.format, self.provenance = path, stores[0].format, stores[0].provenance
        self._stores, self._rows = tuple(stores), tuple(rows)
        self._store_of = np.repeat(np.arange(len(stores)), [len(selected) for selected in rows])
        self._row_of = np.concatenate(rows)

    def __len__(self) -> int:
        return len(self._row_of)

    def all(self, column: str) -> np.ndarray:
        """A whole small column."""
        return np.concatenate([store.all(column)[rows] for store, rows in zip(self._stores, self._rows, strict=True)])

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of a column, rows first."""
        return (len(self), *self._stores[0].shape(column)[1:])

    def _place(self, column: str, row: int) -> tuple[h5py.Dataset, int]:
        store: Rows = self._stores[self._store_of[row]]
        return store._place(column, int(self._row_of[row]))


def store_digest(content_sha256: str, provenance: Provenance) -> str:
    """Digest of a store's content, from what its header records."""
    data_set = provenance.data_set and provenance.data_set.model_dump()
    return combined({"content": content_sha256, "marks": provenance.marks, "data_set": data_set})


def as_names(names: Sequence[str], dtype: str) -> np.ndarray:
    """Names as fixed UTF-8; a name that does not fit is refused, never cut."""
    width = np.dtype(dtype).itemsize
    too_long = [name for name in names if len(name.encode()) > width]
    if too_long:
        raise ContractError(f"names must have at most {width} bytes of UTF-8, found {too_long[:3]}")
    return np.array([name.encode() for name in names], dtype=dtype)


def check_columns(file: h5py.File, path: Path, fmt: Format) -> None:
    """Refuse a file whose arrays are not the columns of a format.

    Raises:
        ContractError: A column is missing, or has another type or shape.
    """
    n = None
    for column in fmt.columns:
        dataset = file.get(column.name)
        sizes = (n, *(None if isinstance(axis, str) else axis for axis in column.axes))
        shape = dataset.shape if isinstance(dataset, h5py.Dataset) else ()
        fits = len(shape) == len(sizes) and all(want in (None, size) for want, size in zip(sizes, shape, strict=True))
        if not fits or dataset.dtype != np.dtype(column.dtype):
            shown = f"{dataset.dtype} {shape}" if isinstance(dataset, h5py.Dataset) else "no array"
            raise ContractError(
                f"{path}: `{column.name}` must be {column.dtype} {('n', *column.axes)}, found {shown}. "
                f"Fix: {remake(path)}"
            )
        n = dataset.shape[0]
