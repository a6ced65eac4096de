"""Feature stores: features/fold{fold}.h5, and a family's features, which read the same."""

from pathlib import Path

import numpy as np

from cellvit.contracts.records import FeatureBatch
from cellvit.contracts.stores import FAMILY_FEATURES, FEATURES
from cellvit.errors import StaleFileError
from cellvit.io.family import FamilyStore
from cellvit.io.hdf5 import Store, StoreWriter


def open_features(path: Path) -> Store:
    """The feature store of one fold, open for reading."""
    return Store(path, FEATURES)


def open_family_features(path: Path) -> FamilyStore:
    """A family's features, open for reading; the stores behind it are checked."""
    return FamilyStore(path, FAMILY_FEATURES)


def check_extracted_from(tiles: Store, features: Store) -> None:
    """Refuse features of other tiles.

    Raises:
        StaleFileError: The features were extracted from a tile store of other content.
    """
    expected, found = tiles.content_sha256, features.provenance.made_from.get("tiles")
    if expected != found:
        raise StaleFileError(
            f"{features.path} was extracted from other tiles than {tiles.path} holds.\n"
            f"  tiles: file has {str(found)[:12]}, run has {expected[:12]}\n"
            f"Re-extract it:  snakemake --forcerun extract_features -- {features.path}"
        )


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
