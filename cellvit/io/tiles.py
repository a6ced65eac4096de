"""Tile stores: tiles/fold{fold}.h5, and a family's targets, which read the same."""

from pathlib import Path

import numpy as np

from cellvit.contracts.records import TileBatch
from cellvit.contracts.stores import FAMILY_TARGETS, ID_DTYPE, PATIENT_DTYPE, TILES
from cellvit.io.family import FamilyStore
from cellvit.io.hdf5 import Store, as_names
from cellvit.io.rows import StoreWriter


def open_tiles(path: Path) -> Store:
    """The tile store of one fold, open for reading."""
    return Store(path, TILES)


def open_targets(path: Path) -> FamilyStore:
    """A family's targets, open for reading; the stores behind it are checked."""
    return FamilyStore(path, FAMILY_TARGETS)


def read_tiles(store: Store, rows: np.ndarray) -> TileBatch:
    """Tiles at `rows`, in that order."""
    return TileBatch(
        image=store.read("image", rows),
        instances=store.read("instances", rows),
        classes=store.read("classes", rows),
        organ=names_at(store, "organ", rows),
        tile_id=names_at(store, "tile_id", rows),
        patient=names_at(store, "patient", rows),
    )


def names_at(store: Store, column: str, rows: np.ndarray) -> tuple[str, ...]:
    """Names at `rows` of a column of names, in that order."""
    return tuple(name.decode() for name in store.read(column, rows).tolist())


def append_tiles(writer: StoreWriter, batch: TileBatch) -> None:
    """Write the next tiles of a store."""
    writer.append(
        image=batch.image,
        instances=batch.instances,
        classes=batch.classes,
        organ=as_names(batch.organ, ID_DTYPE),
        tile_id=as_names(batch.tile_id, ID_DTYPE),
        patient=as_names(batch.patient, PATIENT_DTYPE),
    )
