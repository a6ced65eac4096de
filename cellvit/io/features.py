"""Feature stores: features/fold{fold}.h5, and a family's features, which read the same."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from cellvit.contracts.provenance import Provenance
from cellvit.contracts.records import FeatureBatch
from cellvit.contracts.stores import FAMILY_FEATURES, FEATURES, ROW_SHA256
from cellvit.errors import StaleFileError
from cellvit.io.atomic import replacing
from cellvit.io.family import FamilyStore
from cellvit.io.hdf5 import Store, seal
from cellvit.io.rows import StoreWriter
from cellvit.io.spread import NO_FOLD, PIECES, Piece, Places, SpreadStore, create_virtual, record_pieces


def open_features(path: Path) -> Store:
    """The feature store of one fold, open for reading; where it was extracted in shards, they are checked."""
    store = Store(path, FEATURES)
    if store.attribute(PIECES) is None:
        return store
    store.close()
    return SpreadStore(path, FEATURES, remedy="Extract it again:  snakemake -- {piece}")


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


def write_joined(path: Path, shards: Sequence[Store], origin: Provenance) -> None:
    """Write the store of a fold over its shards, in order: virtual datasets, no copy.

    Its content hash is that of the same rows in one file.
    """
    hashes = np.concatenate([shard.all(ROW_SHA256) for shard in shards])
    starts = np.cumsum([0, *map(len, shards)]).tolist()
    pieces = [
        Piece(NO_FOLD, start, start + len(shard), shard.path.resolve(), shard.content_sha256)
        for start, shard in zip(starts, shards, strict=False)
    ]
    places = Places(np.full(len(hashes), NO_FOLD), np.arange(len(hashes)))
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        virtual = [column.name for column in FEATURES.columns if column.name != ROW_SHA256 and len(hashes)]
        for column in FEATURES.columns:
            tail = shards[0].shape(column.name)[1:]
            if column.name in virtual:
                create_virtual(file, column, tail, pieces, places, path)
            else:
                file.create_dataset(column.name, data=hashes.reshape(-1, *tail).astype(column.dtype))
        record_pieces(file, pieces, virtual, path)
        seal(file, FEATURES, hashlib.sha256(hashes.tobytes()).hexdigest(), origin)


def read_tokens(store: Store, rows: np.ndarray, *, view: int, taps: tuple[int, ...]) -> np.ndarray:
    """Token grids (b, taps, g, g, dim) float16 of one view; `taps` are positions in the store."""
    tokens = np.empty((len(rows), len(taps), *store.shape("tokens")[3:]), np.float16)
    for place, tap in enumerate(taps):
        store.read_into("tokens", rows, tokens[:, place], (view, tap))
    return tokens


def append_features(writer: StoreWriter, batch: FeatureBatch) -> None:
    """Write the features of the next tiles."""
    known = {} if batch.input_sha256 is None else {"input_sha256": batch.input_sha256}
    writer.append(cls=batch.cls, tokens=batch.tokens, **known)
