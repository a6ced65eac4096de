"""Which tiles are scored, those with an annotated pixel, and how much of the others there is."""

import numpy as np
from jaxtyping import Float64

from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import NotAnnotated


def scored(tiles: TileScores) -> TileScores:
    """The tiles with an annotated pixel."""
    return tiles.where(~np.isnan(tiles.column("n_true")))


def n_nuclei(tiles: TileScores) -> int:
    """True nuclei of all scored tiles."""
    return int(scored(tiles).column("n_true").sum())


def counts_by_tile(tiles: TileScores, key: str) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """True and predicted nuclei of each tile, of the class with this key or of all classes (empty key)."""
    if not key:
        return tiles.column("n_true"), tiles.column("n_predicted")
    matched = tiles.column(f"tp_{key}")
    return matched + tiles.column(f"fn_{key}"), matched + tiles.column(f"fp_{key}")


def not_annotated(tiles: TileScores) -> NotAnnotated:
    """Tiles and pixels that are in no value."""
    return NotAnnotated.of(tiles.column("annotated"))
