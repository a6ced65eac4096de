"""Map stores: what a decoder predicts for the validation tiles of its family, from which its decoding is tuned."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float16, UInt8

from cellvit.errors import StaleFileError
from cellvit.formats.digests import remake
from cellvit.formats.hdf5 import ROW_COLUMN, ROW_SHA256, SHA256_BYTES, Column, Format, Rows, Selection, Store
from cellvit.formats.writing import StoreWriter

MAPS: Final = Format(
    "cellvit-maps",
    4,
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


class MapsOfTiles(NamedTuple):
    """Maps and their tiles: row i of both is the same tile."""

    maps: Rows
    tiles: Rows


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


@contextmanager
def open_pooled_maps(paths: Sequence[Path], tiles: Rows, *, average_views: bool) -> Iterator[MapsOfTiles]:
    """The maps of several splits, one after the other, each with its tile; a split without a decoder has none.

    Args:
        tiles: The tiles of all folds that validate; one that validates in two splits has two maps.
        average_views: As of `open_maps`.

    Raises:
        StaleFileError: A map is of a tile that is not among them, or of other views.
    """
    row_of = {digest.tobytes(): row for row, digest in enumerate(tiles.all(ROW_SHA256))}
    with ExitStack() as stack:
        stores = [stack.enter_context(Store(path, MAPS)) for path in paths]
        selected = []
        for store in stores:
            rows = np.array([row_of.get(one.tobytes(), -1) for one in store.all("tile_sha256")], np.int64)
            known = rows[rows >= 0]
            _check(store, tiles.read(ROW_SHA256, known), average_views=average_views)
            selected.append(known)
        maps = Selection(paths[0], stores, [np.arange(len(store)) for store in stores])
        yield MapsOfTiles(maps, Selection(tiles.path, [tiles], [np.concatenate(selected)]))


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
