"""Which tiles are scored, those with an annotated pixel, and how much of the others there is."""

import numpy as np

from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import NotAnnotated


def scored(tiles: TileScores) -> TileScores:
    """The tiles with an annotated pixel."""
    return tiles.where(~np.isnan(tiles.column("n_true")))


def n_nuclei(tiles: TileScores) -> int:
    """True nuclei of all scored tiles."""
    return int(scored(tiles).column("n_true").sum())


def not_annotated(tiles: TileScores) -> NotAnnotated:
    """Tiles and pixels that are in no value."""
    return NotAnnotated.of(tiles.column("annotated"))
