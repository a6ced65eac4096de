"""Chunks of a grid of tiles: blocks of windows that are predicted one after another, with the memory of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Bool

from cellvit.prediction.grid import TileGrid
from cellvit.prediction.windows import Window, window_of

CHUNK_WINDOWS: Final = 32
"""Windows along a side of a chunk (decision): at half a tile of overlap 4,096 px, of which 6 % of the tiles on each side are
read again for the next chunk, and a killed prediction repeats at most 1 mm2."""

_WIDEST_CLASSES: Final = 16
"""Number of classes above which chunks are narrower: the maps of a few rows of tiles are in memory at the same time."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A block of windows with at least one active one.

    Attributes:
        rows, columns: Rows and columns of the grid.
    """

    rows: range
    columns: range

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"r{self.rows.start:05d}_c{self.columns.start:05d}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The tiles of an image that are predicted.

    Attributes:
        active: Tiles whose cores meet the analysed area: nuclei are decoded in their windows.
        side: Windows along a side of a chunk.
    """

    grid: TileGrid
    active: Bool[np.ndarray, "rows columns"]
    side: int = CHUNK_WINDOWS

    def chunks(self) -> tuple[Chunk, ...]:
        """Blocks with an active tile, row by row."""
        n_rows, n_columns = self.active.shape
        return tuple(
            Chunk(rows, columns)
            for rows in _blocks(n_rows, self.side)
            for columns in _blocks(n_columns, self.side)
            if self.active[rows.start : rows.stop, columns.start : columns.stop].any()
        )

    def windows(self, chunk: Chunk) -> list[Window]:
        """Windows of the active tiles of a chunk, row by row."""
        places = np.argwhere(self.active[chunk.rows.start : chunk.rows.stop, chunk.columns.start : chunk.columns.stop])
        first = chunk.rows.start, chunk.columns.start
        return [window_of(self.grid, first[0] + row, first[1] + column) for row, column in places.tolist()]

    def tiles(self, chunk: Chunk) -> list[tuple[int, int]]:
        """Row and column of the tiles that are blended into the windows of a chunk, row by row."""
        rows, columns = self.grid.rows, self.grid.columns
        return sorted(
            {
                tile
                for window in self.windows(chunk)
                for tile in product(rows.blended(window.row), columns.blended(window.column))
            }
        )

    def n_tiles(self) -> int:
        """Tiles that are encoded; those at the borders of chunks are counted for each."""
        return sum(len(self.tiles(chunk)) for chunk in self.chunks())


def chunk_side(n_classes: int) -> int:
    """Windows along a side of a chunk, fewer where a data set has many classes.

    Examples:
        >>> chunk_side(5), chunk_side(64)
        (32, 8)
    """
    return max(1, CHUNK_WINDOWS * _WIDEST_CLASSES // max(n_classes, _WIDEST_CLASSES))


def _blocks(n: int, side: int) -> Iterator[range]:
    for start in range(0, n, side):
        yield range(start, min(start + side, n))
