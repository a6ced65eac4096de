"""Overlapping tiles that cover an image, how their maps are blended, and which tile owns which part.

Along each axis, tiles lie at multiples of the stride (256 px less the overlap) from the left or top border of the image, and
the last one ends at the right or bottom border. So with half a tile of overlap, a grid that is moved by half a tile has the
same tiles.

Between two neighbouring tiles, in the middle of their overlap, lies a seam. Up to `RAMP_PX` before it, the maps are those of the
first tile, from `RAMP_PX` after it on those of the second, and in between they change linearly. A pixel that only one tile
covers has exactly its maps, so that an image of one tile has the maps of the evaluation. What is near the border of a
tile is not used where another tile sees it whole: there, the HV maps describe the visible part of a nucleus.

The core of a tile reaches from seam to seam. Cores are disjoint and cover the image; a nucleus belongs to the tile in whose
core its centroid lies.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cellvit.taxonomy import TILE_PX

DEFAULT_OVERLAP_PX: Final = TILE_PX // 2
"""Half a tile: nuclei of up to 128 px (32 um at 0.25 um per pixel) are complete in a tile."""

RAMP_PX: Final = 16
"""Half the width of the strip in which maps of two neighbouring tiles are mixed (decision)."""


@dataclass(frozen=True)
class Axis:
    """The tiles along one side of an image.

    Attributes:
        side_px: Length of the side.
        starts: First pixel of each tile, increasing; one tile at 0 for a side of at most 256 px.
    """

    side_px: int
    starts: tuple[int, ...]

    @cached_property
    def seams(self) -> tuple[int, ...]:
        """First pixel of each core but the first: the middle of the overlap of two neighbouring tiles."""
        return tuple((first + second + TILE_PX) // 2 for first, second in pairwise(self.starts))

    def core(self, number: int) -> tuple[int, int]:
        """First pixel of the core of a tile, and the one after its last."""
        low = self.seams[number - 1] if number > 0 else 0
        return low, self.seams[number] if number < len(self.seams) else self.side_px

    def blended(self, number: int) -> range:
        """Tiles, the tile itself among them, whose maps have a share somewhere in the window of this tile."""
        left, right = self.starts[number], self.starts[number] + TILE_PX
        # A tile has a share from RAMP_PX before the seam on its left to RAMP_PX after the one on its right.
        return range(bisect_right(self.seams, left - RAMP_PX), bisect_left(self.seams, right + RAMP_PX) + 1)

    def weights(self, number: int) -> Float32[np.ndarray, " 256"]:
        """Share of a tile in the maps at each of its pixels, 0..1; the shares of all tiles add up to 1 at each pixel."""
        px = np.arange(TILE_PX) + self.starts[number] + 0.5
        weights = np.ones(TILE_PX, np.float32)
        if number > 0:
            weights *= _ramp(px - self.seams[number - 1])
        if number < len(self.starts) - 1:
            weights *= 1 - _ramp(px - self.seams[number])
        return weights


@dataclass(frozen=True)
class TileGrid:
    """All tiles of an image.

    Attributes:
        columns, rows: The tiles along the width and along the height.
    """

    columns: Axis
    rows: Axis

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of tiles."""
        return len(self.rows.starts), len(self.columns.starts)

    @cached_property
    def core_boxes(self) -> Int64[np.ndarray, "rows columns 4"]:
        """Core of every tile as left, top, right, bottom in px of the model."""
        x, y = (np.array([axis.core(i) for i in range(len(axis.starts))]) for axis in (self.columns, self.rows))
        boxes = np.empty((*self.shape, 4), np.int64)
        boxes[..., 0], boxes[..., 2] = x[:, 0], x[:, 1]
        boxes[..., 1], boxes[..., 3] = y[:, :1], y[:, 1:]
        return boxes


def tile_grid(width: int, height: int, *, overlap_px: int = DEFAULT_OVERLAP_PX) -> TileGrid:
    """The tiles of an image of this size in px of the model; of a side below 256 px, the image must be extended.

    Examples:
        >>> tile_grid(600, 200).columns.starts, tile_grid(600, 200).rows.starts
        ((0, 128, 256, 344), (0,))
        >>> tile_grid(600, 200).columns.seams
        (192, 320, 428)
    """
    return TileGrid(axis_of(width, overlap_px), axis_of(height, overlap_px))


def axis_of(side_px: int, overlap_px: int) -> Axis:
    """The tiles along a side."""
    assert 2 * RAMP_PX <= overlap_px <= TILE_PX * 3 // 4, f"overlap of {overlap_px} px"
    last = max(side_px - TILE_PX, 0)
    return Axis(side_px, (*range(0, last, TILE_PX - overlap_px), last))


def needed(grid: TileGrid, active: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """The tiles whose maps are blended into the windows of the active tiles; the window of a tile is its whole 256 px."""
    of_rows, of_columns = _within(grid.rows), _within(grid.columns)
    found: Bool[np.ndarray, "rows columns"] = (of_rows.T.astype(np.float32) @ active @ of_columns) > 0
    return found


def _within(axis: Axis) -> Bool[np.ndarray, "n n"]:
    """Row i is true for the tiles that are blended into the window of tile i."""
    within = np.zeros((len(axis.starts), len(axis.starts)), bool)
    for number, row in enumerate(within):
        row[axis.blended(number).start : axis.blended(number).stop] = True
    return within


def _ramp(beyond_px: np.ndarray) -> Float32[np.ndarray, " n"]:
    """0 before a seam, 1 after it, linear within `RAMP_PX` of it."""
    ramp: Float32[np.ndarray, " n"] = np.clip((beyond_px + RAMP_PX) / (2 * RAMP_PX), 0, 1).astype(np.float32)
    return ramp
