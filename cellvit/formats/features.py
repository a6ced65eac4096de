"""Formats of the HDF5 stores: names, dtypes, axes, versions (docs/formats.md in words).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import h5py
import numpy as np
from jaxtyping import Float16, Float32, UInt8
from pydantic import Field

from cellvit.errors import ContractError, StaleFileError
from cellvit.formats.atomic import replacing
from cellvit.formats.documents import Check, Document, Number
from cellvit.formats.family import FAMILY_FEATURES, FamilyStore
from cellvit.formats.hdf5 import _ROW_COLUMN, ROW_SHA256, SHA256_BYTES, Column, Format, Store, seal
from cellvit.formats.provenance import Provenance
from cellvit.formats.rows import StoreWriter
from cellvit.formats.spread import NO_FOLD, PIECES, Piece, Places, SpreadStore, create_virtual, record_pieces

_FEATURE_COLUMNS = (
    Column("cls", "float32", ("views", "dim")),
    Column("tokens", "float16", ("views", "taps", "g", "g", "dim")),
)


FEATURES: Final = Format(
    "cellvit-features",
    2,
    (
        *_FEATURE_COLUMNS,
        Column("input_sha256", "uint8", (SHA256_BYTES,), unknown=True),
        _ROW_COLUMN,
    ),
    row_hashes=True,
)


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Frozen features of tiles.

    Attributes:
        cls: CLS token after the final LayerNorm, one a view.
        tokens: Patch tokens after the final LayerNorm, one grid a view and tap; no CLS, no registers.
        input_sha256: Hash of what the encoder was given of each tile; None where unknown.
    """

    cls: Float32[np.ndarray, "b views dim"]
    tokens: Float16[np.ndarray, "b views taps g g dim"]
    input_sha256: UInt8[np.ndarray, "b 32"] | None = None

    def __post_init__(self) -> None:
        cls, tokens = self.cls, self.tokens
        if cls.dtype != np.float32 or tokens.dtype != np.float16 or cls.ndim != 3 or tokens.ndim != 6:
            raise ContractError(
                "features: cls must be float32 (b, views, dim) and tokens float16 (b, views, taps, g, g, dim), "
                f"found {cls.dtype} {cls.shape} and {tokens.dtype} {tokens.shape}"
            )
        if cls.shape[:2] != tokens.shape[:2] or cls.shape[2] != tokens.shape[5] or tokens.shape[3] != tokens.shape[4]:
            raise ContractError(f"features: shapes of cls {cls.shape} and tokens {tokens.shape} do not belong together")

    def __len__(self) -> int:
        return len(self.cls)


class FeatureCheck(Document):
    """`check_features` passed for a fold."""

    format: Literal["cellvit-feature-check"] = "cellvit-feature-check"
    fold_id: str = Field(description="stem of the feature store, as fold1")
    n_tiles: int
    cls_std: Number
    checks: tuple[Check, ...]


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
