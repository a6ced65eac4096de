"""Pixels of the tiles of a chunk, read in strips: neighbouring tiles overlap, and slides are slow to read."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from jaxtyping import UInt8

from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.prediction.grid import TileGrid
from cellvit.taxonomy import TILE_PX


class TileReader:
    """Reads tiles that are asked for row by row; each run of neighbouring tiles of a row is read at once.

    Args:
        tiles: Row and column of every tile that will be asked for.
    """

    def __init__(self, pixels: ModelPixels, grid: TileGrid, tiles: Sequence[tuple[int, int]]) -> None:
        self._pixels, self._grid = pixels, grid
        self._columns = {row: [column for _, column in found] for row, found in groupby(tiles, lambda tile: tile[0])}
        self._row = -1
        self._tiles: dict[int, UInt8[np.ndarray, "256 256 3"]] = {}

    def read(self, tiles: Sequence[tuple[int, int]]) -> UInt8[np.ndarray, "b 256 256 3"]:
        """Pixels of some tiles."""
        images = np.empty((len(tiles), TILE_PX, TILE_PX, 3), np.uint8)
        for (row, column), image in zip(tiles, images, strict=True):
            if row != self._row:
                self._tiles, self._row = self._read_row(row), row
            image[:] = self._tiles[column]
        return images

    def _read_row(self, row: int) -> dict[int, UInt8[np.ndarray, "256 256 3"]]:
        starts, y = self._grid.columns.starts, self._grid.rows.starts[row]
        found = {}
        for run in _runs(self._columns[row]):
            left = starts[run[0]]
            strip = self._pixels.read(left, y, starts[run[-1]] + TILE_PX - left, TILE_PX)
            for column in run:
                x = starts[column] - left
                found[column] = strip[:, x : x + TILE_PX]
        return found


def _runs(columns: Sequence[int]) -> list[list[int]]:
    """Parts of increasing numbers without gaps.

    Examples:
        >>> _runs([1, 2, 5])
        [[1, 2], [5]]
    """
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][-1] == column - 1:
            runs[-1].append(column)
        else:
            runs.append([column])
    return runs
