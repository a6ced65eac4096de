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
    1,
    (
        Column("np_prob", "float16", (256, 256)),
        Column("hv", "float16", (2, 256, 256)),
        Column("nt_class", "uint8", (256, 256), compressed=True),
        Column("tile_sha256", "uint8", (SHA256_BYTES,)),
        ROW_COLUMN,
    ),
)
"""NP probability, HV, and the most probable class of each pixel. Half precision is as good as single precision here:
`python benchmarks/tuning.py` measures both (docs/decoding.md)."""


def append_maps(
    writer: StoreWriter,
    *,
    np_prob: Float16[np.ndarray, "b 256 256"],
    hv: Float16[np.ndarray, "b 2 256 256"],
    nt_class: UInt8[np.ndarray, "b 256 256"],
    tile_sha256: UInt8[np.ndarray, "b 32"],
) -> None:
    """Write the maps of the next tiles, each with the digest of its row in the tile store."""
    writer.append(np_prob=np_prob, hv=hv, nt_class=nt_class, tile_sha256=tile_sha256)


def open_maps(path: Path, tiles: Rows, rows: np.ndarray) -> Store:
    """The map store of the tiles at `rows`, in that order, open for reading.

    Raises:
        StaleFileError: The maps are of other tiles.
    """
    store = Store(path, MAPS)
    if not np.array_equal(store.all("tile_sha256"), tiles.read(ROW_SHA256, rows)):
        found = len(store)
        store.close()
        raise StaleFileError(
            f"{path}: the maps must be of the {len(rows)} validation tiles of the family, found {found} maps, or maps of "
            f"other tiles. Fix: {remake(path)}"
        )
    return store
