"""Stores whose rows lie in other stores: a fold in its shards, a family in its folds.

The file holds virtual datasets with relative paths, which anyone's HDF5 reads. Here rows are read from the stores that
hold them: HDF5 looks at the whole list of a family's rows for every row that is read through it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import h5py
import numpy as np
from jaxtyping import Int

from cellvit.contracts.stores import Column, Format
from cellvit.errors import StaleFileError
from cellvit.io.hdf5 import ELSEWHERE, Store

PIECES: Final = "pieces"
"""Attribute with every `Piece` behind a store, as JSON; paths are relative to it."""

NO_FOLD: Final = 0
"""Fold of the pieces of a store that is itself one fold."""


class Piece(NamedTuple):
    """A file that holds rows `start` to `stop` (exclusive) of a fold."""

    fold: int
    start: int
    stop: int
    path: Path
    content_sha256: str


class Places(NamedTuple):
    """Fold and row within it of each row of a store."""

    fold: Int[np.ndarray, " n"]
    row: Int[np.ndarray, " n"]


class SpreadStore(Store):
    """A store open for reading, and those that hold its rows.

    Args:
        remedy: What to do where a store behind it is gone or has changed; ``{piece}`` in it stands for that store.

    Raises:
        StaleFileError: A store behind it is gone or has other content; HDF5 itself would silently read zeros.
    """

    def __init__(self, path: Path, fmt: Format, *, remedy: str) -> None:
        super().__init__(path, fmt)
        self._sources: list[h5py.File] = []
        try:
            self.pieces = _pieces(self)
            for piece in self.pieces:
                self._sources.append(_opened(piece, path, remedy))
        except StaleFileError:
            self.close()
            raise
        self._source_datasets: dict[tuple[str, int], h5py.Dataset] = {}
        self._where = self._places() if self.pieces else np.empty((0, 2), np.int64)

    def __enter__(self) -> "SpreadStore":
        return self

    def close(self) -> None:
        """Close it and what lies behind it."""
        for source in self._sources:
            source.close()
        super().close()

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of a column, rows first."""
        if column not in self.elsewhere:
            return super().shape(column)
        return (len(self), *self._source_dataset(column, 0).shape[1:])

    def _place(self, column: str, row: int) -> tuple[h5py.Dataset, int]:
        if column not in self.elsewhere:
            return super()._place(column, row)
        source, own = self._where[row].tolist()
        return self._source_dataset(column, source), own

    def _source_dataset(self, column: str, source: int) -> h5py.Dataset:
        if (column, source) not in self._source_datasets:
            self._source_datasets[column, source] = self._sources[source][column]
        return self._source_datasets[column, source]

    def _places(self) -> Int[np.ndarray, "n 2"]:
        """Piece of each row, and its row there."""
        n = len(self)
        names = self.format.column_names
        fold = self.all("fold") if "fold" in names else np.full(n, NO_FOLD)
        row = self.all("row") if "row" in names else np.arange(n)
        where = np.zeros((n, 2), np.int64)
        for number, piece in enumerate(self.pieces):
            held = (fold == piece.fold) & (row >= piece.start) & (row < piece.stop)
            where[held] = np.stack([np.full(held.sum(), number), row[held] - piece.start], axis=1)
        return where


def pieces_of(store: Store, fold: int) -> list[Piece]:
    """The files that hold the rows of one fold's store: those behind it, or itself."""
    if isinstance(store, SpreadStore):
        return [piece._replace(fold=fold) for piece in store.pieces]
    return [Piece(fold, 0, len(store), store.path.resolve(), store.content_sha256)]


def record_pieces(file: h5py.File, pieces: Sequence[Piece], virtual: Sequence[str], path: Path) -> None:
    """Write into the header of the store at `path` what lies behind it, and which columns are read from there."""
    file.attrs[PIECES] = json.dumps([[*piece[:3], _relative(piece, path), piece.content_sha256] for piece in pieces])
    file.attrs[ELSEWHERE] = json.dumps(virtual)


def create_virtual(
    file: h5py.File, column: Column, tail: tuple[int, ...], pieces: Sequence[Piece], places: Places, path: Path
) -> None:
    """Create a column that reads, row by row, what `pieces` hold at `places`."""
    n = len(places.row)
    layout = h5py.VirtualLayout((n, *tail), column.dtype)
    for piece in pieces:
        held = (places.fold == piece.fold) & (places.row >= piece.start) & (places.row < piece.stop)
        own = np.flatnonzero(held)
        if len(own):
            shape = (piece.stop - piece.start, *tail)
            source = h5py.VirtualSource(_relative(piece, path), column.name, shape, column.dtype)
            layout[_selection(own)] = source[_selection(places.row[own] - piece.start)]
    file.create_virtual_dataset(column.name, layout)


def _selection(rows: Int[np.ndarray, " r"]) -> slice | list[int]:
    """A slice where the rows are one run, which HDF5 reads faster than a list."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows.tolist()


def _relative(piece: Piece, path: Path) -> str:
    return os.path.relpath(piece.path, path.resolve().parent)


def _near(piece: Piece, path: Path) -> Path:
    """A store behind that at `path`, named as that one is."""
    return Path(os.path.normpath(path.parent / _relative(piece, path)))


def _pieces(store: Store) -> list[Piece]:
    folder = store.path.resolve().parent
    recorded = json.loads(store.attribute(PIECES) or "[]")
    return [Piece(fold, start, stop, folder / name, sha256) for fold, start, stop, name, sha256 in recorded]


def _opened(piece: Piece, path: Path, remedy: str) -> h5py.File:
    remedy = remedy.replace("{piece}", str(_near(piece, path)))
    if not piece.path.exists():
        raise StaleFileError(f"{path}: the store behind it is gone: {piece.path}. {remedy}")
    try:
        file = h5py.File(piece.path, "r")
    except OSError as error:
        raise StaleFileError(
            f"{path}: the store behind it is no readable HDF5 file: {piece.path} ({error}). "
            f"Remove it and make it again:  rm {_near(piece, path)} && snakemake -- {_near(piece, path)}"
        ) from error
    found = file.attrs.get("content_sha256") if file.attrs.get("complete") else None
    if found != piece.content_sha256:
        file.close()
        raise StaleFileError(
            f"{path} was gathered from another version of {piece.path}.\n"
            f"  content_sha256: expected {piece.content_sha256[:12]}, found {str(found)[:12]}\n{remedy}"
        )
    return file
