"""Feature stores: frozen features of the tiles of one fold, in memory and on disk, and the check of a store."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float16, Float32
from pydantic import Field

from cellvit.errors import ContractError, StaleFileError
from cellvit.formats.documents import Check, Document, Number
from cellvit.formats.hdf5 import ROW_COLUMN, Column, Format, Rows, Store
from cellvit.formats.writing import StoreWriter

FEATURES: Final = Format(
    "cellvit-features",
    7,
    (
        Column("cls", "float32", ("views", "dim")),
        Column("tokens", "float16", ("views", "blocks", "g", "g", "dim"), chunk_axes=3),
        ROW_COLUMN,
    ),
)

WEIGHTS: Final = "data:weights"
"""Name that provenance gives to the file of the encoder's weights; random weights have none."""


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Frozen features of tiles.

    Attributes:
        cls: CLS token after the final LayerNorm, one a view; of an encoder without CLS, the mean of its tokens.
        tokens: Standardised tokens, one grid a view and block; no CLS, no registers.
    """

    cls: Float32[np.ndarray, "b views dim"]
    tokens: Float16[np.ndarray, "b views blocks g g dim"]

    def __post_init__(self) -> None:
        cls, tokens = self.cls, self.tokens
        if cls.dtype != np.float32 or tokens.dtype != np.float16 or cls.ndim != 3 or tokens.ndim != 6:
            raise ContractError(
                "features: cls must be float32 (b, views, dim) and tokens float16 (b, views, blocks, g, g, dim), "
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
    """The feature store of one fold, open for reading."""
    return Store(path, FEATURES)


def check_extracted_from(tiles: Store, features: Store) -> None:
    """Refuse features of other tiles.

    Raises:
        StaleFileError: The features were extracted from a tile store of other content.
    """
    if tiles.digest not in features.provenance.made_from.values():
        raise StaleFileError(
            f"{features.path} was extracted from other tiles than {tiles.path} holds.\n"
            f"Fix: snakemake --forcerun extract_features -- {shlex.quote(str(features.path))}"
        )


def read_features(store: Rows, rows: np.ndarray) -> FeatureBatch:
    """Features at `rows`, in that order: every view and block."""
    return FeatureBatch(cls=store.read("cls", rows), tokens=store.read("tokens", rows))


def read_tokens(store: Rows, rows: np.ndarray, *, view: int, blocks: tuple[int, ...]) -> np.ndarray:
    """Token grids (b, blocks, g, g, dim) float16 of one view; `blocks` are positions in the store."""
    tokens = np.empty((len(rows), len(blocks), *store.shape("tokens")[3:]), np.float16)
    for place, block in enumerate(blocks):
        store.read_into("tokens", rows, tokens[:, place], (view, block))
    return tokens


def append_features(writer: StoreWriter, batch: FeatureBatch) -> None:
    """Write the features of the next tiles."""
    writer.append(cls=batch.cls, tokens=batch.tokens)
