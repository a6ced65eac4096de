"""Maps of overlapping tiles -> maps of windows, on the device that computed them, with the memory of a few rows of tiles."""

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from cellvit.inference.pixel_maps import PixelMaps
from cellvit.prediction.grid import Axis, TileGrid
from cellvit.taxonomy import TILE_PX


class Blender:
    """Adds up the maps of the tiles of a chunk, each with its share (`cellvit.prediction.grid.Axis.weights`).

    Tiles come row by row. The tiles of a row are mixed along the row at once, into a band of 256 px in height; the bands are
    mixed where a window is asked for. A window depends on the maps of its tiles alone, not on the chunk: the terms of each
    sum have the same order everywhere, and tiles without a share add zeros.

    Args:
        columns: Columns of the first and the last tile of the chunk, with those that are only blended.
    """

    def __init__(self, grid: TileGrid, columns: tuple[int, int], device: torch.device) -> None:
        self._grid, self._device = grid, device
        starts = grid.columns.starts
        self._left, self._width = starts[columns[0]], starts[columns[1]] + TILE_PX - starts[columns[0]]
        self._bands: dict[int, Float32[Tensor, "k 256 w"]] = {}
        self._shares: dict[bytes, Float32[Tensor, " 256"]] = {}

    @torch.inference_mode()
    def add(self, tiles: Sequence[tuple[int, int]], maps: PixelMaps) -> None:
        """Add the maps of tiles, given by row and column."""
        joined = torch.cat([maps.np_prob[:, None], maps.hv, maps.nt_prob], dim=1)
        for (row, column), of_tile in zip(tiles, joined, strict=True):
            if row not in self._bands:
                self._bands[row] = joined.new_zeros((joined.shape[1], TILE_PX, self._width))
            x = self._grid.columns.starts[column] - self._left
            self._bands[row][:, :, x : x + TILE_PX].addcmul_(of_tile, self._share(self._grid.columns, column))

    @torch.inference_mode()
    def window(self, row: int, column: int) -> Float32[Tensor, "k 256 256"]:
        """NP, HV (2) and NT of a window, all of whose tiles were added."""
        x, y = self._grid.columns.starts[column] - self._left, self._grid.rows.starts[row]
        found: Tensor | None = None
        for other in self._grid.rows.blended(row):
            band = self._bands[other][:, :, x : x + TILE_PX]
            if found is None:
                found = band.new_zeros((len(band), TILE_PX, TILE_PX))
            start = self._grid.rows.starts[other]
            top, bottom = max(start, y), min(start, y) + TILE_PX
            share = self._share(self._grid.rows, other)[top - start : bottom - start, None]
            found[:, top - y : bottom - y].addcmul_(band[:, top - start : bottom - start], share)
        assert found is not None
        return found

    def forget_before(self, row: int) -> None:
        """Free the bands of the rows before this one."""
        for done in [number for number in self._bands if number < row]:
            del self._bands[done]

    def _share(self, axis: Axis, number: int) -> Float32[Tensor, " 256"]:
        """Shares of a tile along an axis, copied to the device once for all tiles that have the same."""
        weights = axis.weights(number)
        key = weights.tobytes()
        if key not in self._shares:
            self._shares[key] = torch.from_numpy(weights).to(self._device)
        return self._shares[key]
