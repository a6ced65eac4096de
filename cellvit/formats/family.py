"""Members of a family in one fold: which rows of the fold's stores belong to it. Nothing is copied."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int

from cellvit.errors import StaleFileError
from cellvit.formats.content import provenance_of
from cellvit.formats.digests import remake
from cellvit.formats.features import open_features
from cellvit.formats.hdf5 import ROW_COLUMN, ROW_SHA256, SHA256_BYTES, Column, Format, Selection, Store
from cellvit.formats.tiles import NAME_DTYPE, open_tiles
from cellvit.formats.writing import writing

MEMBERS: Final = Format(
    "cellvit-family",
    8,
    (
        Column("fold", "int32"),
        Column("row", "int32"),
        Column("organ", NAME_DTYPE),
        Column("tile_sha256", "uint8", (SHA256_BYTES,)),
        Column("features_sha256", "uint8", (SHA256_BYTES,)),
        ROW_COLUMN,
    ),
)


@dataclass(frozen=True, slots=True)
class FamilyData:
    """Tiles of a family, their features and their folds: row i is the same tile in each."""

    tiles: Selection
    features: Selection
    fold: Int[np.ndarray, " n"]

    def rows_of_folds(self, folds: Sequence[int]) -> Int[np.ndarray, " r"]:
        """Row numbers of the tiles of `folds`, in order."""
        return np.flatnonzero(np.isin(self.fold, list(folds)))


def write_members(  # six arguments: which tiles, and the files
    path: Path,
    *,
    fold: int,
    organs: Sequence[str] | None,
    tiles: Path,
    features: Path,
    left_out: Sequence[str] = (),
) -> int:
    """List the rows of a fold that belong to a family, with the digests of their tiles and features; their number.

    Args:
        organs: Organs of the family; None for every organ, also where the data set has none.
        left_out: Organs of no family (`left_out_organs`).
    """
    settings = {"fold": fold, "organs": organs and list(organs), "left_out_organs": list(left_out)}
    origin = provenance_of(path, [tiles, features], settings)
    with open_tiles(tiles) as tile_store, open_features(features) as feature_store:
        rows = rows_of_family(tile_store.names("organ"), organs, left_out)
        with writing(path, MEMBERS, len(rows), {}, origin) as writer:
            writer.append(
                fold=np.full(len(rows), fold, np.int32),
                row=rows.astype(np.int32),
                organ=tile_store.all("organ")[rows],
                tile_sha256=tile_store.all(ROW_SHA256)[rows],
                features_sha256=feature_store.all(ROW_SHA256)[rows],
            )
    return len(rows)


def rows_of_family(
    organ: Sequence[str], organs: Sequence[str] | None, left_out: Sequence[str] = ()
) -> Int[np.ndarray, " r"]:
    """Row numbers of the tiles of a family, given the organ of every tile; the others as of `write_members`."""
    found = np.array(organ, dtype=np.str_)
    chosen = np.isin(found, list(left_out), invert=True)
    return np.flatnonzero(chosen if organs is None else chosen & np.isin(found, list(organs)))


@contextmanager
def open_family(members: Sequence[Path], tiles: Sequence[Path], features: Sequence[Path]) -> Iterator[FamilyData]:
    """Tiles and features of a family over several folds, in the order given (one entry a fold in each list).

    Raises:
        StaleFileError: The stores hold other rows than those that the members list, or features of two encoders.
    """
    with ExitStack() as stack:
        lists = [stack.enter_context(Store(path, MEMBERS)) for path in members]
        feature_stores = [stack.enter_context(open_features(path)) for path in features]
        for listed, feature_store in zip(lists, feature_stores, strict=True):
            _check_rows(listed, "features_sha256", feature_store)
            _check_same_encoder(feature_stores[0], feature_store)
        yield FamilyData(
            tiles=stack.enter_context(open_family_tiles(members, tiles)),
            features=Selection(members[0], feature_stores, [listed.all("row") for listed in lists]),
            fold=np.concatenate([listed.all("fold") for listed in lists]),
        )


@contextmanager
def open_family_tiles(members: Sequence[Path], tiles: Sequence[Path]) -> Iterator[Selection]:
    """Tiles of a family over several folds without their features, in the order given (one entry a fold in each list).

    Raises:
        StaleFileError: The stores hold other rows than those that the members list.
    """
    with ExitStack() as stack:
        lists = [stack.enter_context(Store(path, MEMBERS)) for path in members]
        stores = [stack.enter_context(open_tiles(path)) for path in tiles]
        for listed, store in zip(lists, stores, strict=True):
            _check_rows(listed, "tile_sha256", store)
        yield Selection(members[0], stores, [listed.all("row") for listed in lists])


def _check_rows(members: Store, column: str, store: Store) -> None:
    """Compare the digest of each listed row with that of the store."""
    rows, expected, found = members.all("row"), members.all(column), store.all(ROW_SHA256)
    if len(rows) and (rows.min() < 0 or rows.max() >= len(found) or not np.array_equal(found[rows], expected)):
        raise StaleFileError(
            f"{members.path}: lists rows that {store.path} does not hold (any more): the store has {len(found)} rows, and "
            f"the digests in `{column}` must be theirs. Fix: {remake(members.path)}"
        )


def _check_same_encoder(first: Store, other: Store) -> None:
    shapes = [store.shape("tokens")[1:] for store in (first, other)]
    if first.provenance.settings != other.provenance.settings or shapes[0] != shapes[1]:
        raise StaleFileError(
            f"{first.path} and {other.path} were extracted with different settings: tokens of shape {shapes[0]} and "
            f"{shapes[1]}. Fix: snakemake --forcerun extract_features"
        )
