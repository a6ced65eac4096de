"""Map stores: what a decoder predicts for the validation tiles of its family, from which its decoding is tuned."""

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float16, UInt8

from cellvit.errors import StaleFileError
from cellvit.formats.digests import remake
from cellvit.formats.hdf5 import ROW_COLUMN, ROW_SHA256, SHA256_BYTES, Column, Format, Rows, Store
from cellvit.formats.writing import StoreWriter

MAPS: Final = Format(
    "cellvit-maps",
    2,
    (
        Column("np_prob", "float16", (256, 256)),
        Column("hv", "float16", (2, 256, 256)),
        Column("nt_class", "uint8", (256, 256), compressed=True),
        Column("averaged", "uint8"),
        Column("tile_sha256", "uint8", (SHA256_BYTES,)),
        ROW_COLUMN,
    ),
)
"""NP probability, HV, the most probable class of each pixel, and 1 for maps that are averaged over the stored flips and
rotations of their tile (0 for those of the identity view). Half precision is as good as single precision here:
`python benchmarks/tuning.py` measures both (docs/decoding.md)."""


def append_maps(
    writer: StoreWriter,
    *,
    np_prob: Float16[np.ndarray, "b 256 256"],
    hv: Float16[np.ndarray, "b 2 256 256"],
    nt_class: UInt8[np.ndarray, "b 256 256"],
    averaged: bool,
    tile_sha256: UInt8[np.ndarray, "b 32"],
) -> None:
    """Write the maps of the next tiles, each with the digest of its row in the tile store."""
    of_each = np.full(len(np_prob), averaged, np.uint8)
    writer.append(np_prob=np_prob, hv=hv, nt_class=nt_class, averaged=of_each, tile_sha256=tile_sha256)


def open_maps(path: Path, tiles: Rows, rows: np.ndarray, *, average_views: bool) -> Store:
    """The map store of the tiles at `rows`, in that order, open for reading.

    Args:
        average_views: Whether maps are expected that are averaged over the stored views.

    Raises:
        StaleFileError: The maps are of other tiles, or of other views.
    """
    store = Store(path, MAPS)
    try:
        _check(store, tiles.read(ROW_SHA256, rows), average_views=average_views)
    except StaleFileError:
        store.close()
        raise
    return store


def _check(maps: Store, tile_sha256: UInt8[np.ndarray, "n 32"], *, average_views: bool) -> None:
    if not np.array_equal(maps.all("tile_sha256"), tile_sha256):
        raise StaleFileError(
            f"{maps.path}: the maps must be of the {len(tile_sha256)} validation tiles of the family, found {len(maps)} maps, "
            f"or maps of other tiles. Fix: {remake(maps.path)}"
        )
    if (maps.all("averaged") != average_views).any():
        kinds = ("of the identity view", "averaged over the stored views")
        raise StaleFileError(
            f"{maps.path}: expected maps {kinds[average_views]} (watershed.average_views: {str(average_views).lower()}), "
            f"found maps {kinds[not average_views]}. Fix: {remake(maps.path)}"
        )
