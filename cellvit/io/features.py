"""Feature stores: features/fold{fold}.h5, and a family's features, which read the same."""

from pathlib import Path

import numpy as np

from cellvit.contracts.records import FeatureBatch
from cellvit.contracts.stores import FAMILY_FEATURES, FEATURES
from cellvit.io.family import FamilyStore
from cellvit.io.hdf5 import Store, StoreWriter


def open_features(path: Path) -> Store:
    """The feature store of one fold, open for reading."""
    return Store(path, FEATURES)


def open_family_features(path: Path) -> FamilyStore:
    """A family's features, open for reading; the stores behind it are checked."""
    return FamilyStore(path, FAMILY_FEATURES)


def read_features(store: Store, rows: np.ndarray) -> FeatureBatch:
    """Features at `rows`, in that order: every view and tap."""
    return FeatureBatch(cls=store.read("cls", rows), tokens=store.read("tokens", rows))


def read_tokens(store: Store, rows: np.ndarray, *, view: int, taps: tuple[int, ...]) -> np.ndarray:
    """Token grids (b, taps, g, g, dim) float16 of one view; `taps` are positions in the store."""
    grids = [store.read_part("tokens", rows, (view, tap)) for tap in taps]
    return np.stack(grids, axis=1)


def append_features(writer: StoreWriter, batch: FeatureBatch) -> None:
    """Write the features of the next tiles."""
    writer.append(cls=batch.cls, tokens=batch.tokens)
