"""Formats of the HDF5 stores: names, dtypes, axes, versions (docs/formats.md in words).
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from cellvit.errors import ContractError
from cellvit.formats.atomic import replacing
from cellvit.formats.digests import combined
from cellvit.formats.features import _FEATURE_COLUMNS
from cellvit.formats.hdf5 import ROW_SHA256, Column, Format, Store, seal
from cellvit.formats.provenance import Provenance
from cellvit.formats.spread import Places, SpreadStore, create_virtual, pieces_of, record_pieces
from cellvit.formats.tiles import _TILE_COLUMNS, ID_DTYPE

_MEMBER_COLUMNS = (Column("fold", "int32"), Column("row", "int32"))


_NAME_COLUMNS = (Column("organ", ID_DTYPE), Column("tile_id", ID_DTYPE))


FAMILY_TARGETS: Final = Format("cellvit-family-targets", 4, _TILE_COLUMNS + _MEMBER_COLUMNS)


FAMILY_FEATURES: Final = Format("cellvit-family-features", 3, _FEATURE_COLUMNS + _NAME_COLUMNS + _MEMBER_COLUMNS)


@dataclass(frozen=True, slots=True)
class Member:
    """One fold's store and the rows of it that belong to the family."""

    fold: int
    store: Store
    rows: np.ndarray

    @property
    def sha256(self) -> str:
        """Hash of those rows, in order."""
        return hashlib.sha256(self.store.all(ROW_SHA256)[self.rows].tobytes()).hexdigest()


class FamilyStore(SpreadStore):
    """A family store open for reading.

    Raises:
        StaleFileError: A store behind it is gone or has other content; HDF5 itself would silently read zeros.
    """

    def __init__(self, path: Path, fmt: Format) -> None:
        super().__init__(path, fmt, remedy=f"Gather it again:  snakemake --forcerun gather_family -- {path}")

    def __enter__(self) -> "FamilyStore":
        return self

    @property
    def family(self) -> str:
        """Name of the family."""
        return str(self.provenance.settings["family"])

    @property
    def folds(self) -> tuple[int, ...]:
        """Folds that it was gathered from, in order."""
        return tuple(int(name.removeprefix("fold")) for name in self.provenance.made_from)

    def fold_sha256(self, fold: int) -> str:
        """Hash of the rows that the family reads of one fold; other rows of that fold do not count.

        Raises:
            ContractError: The family was gathered without that fold.
        """
        if f"fold{fold}" not in self.provenance.made_from:
            known = ", ".join(self.provenance.made_from)
            raise ContractError(
                f"{self.path}: has no fold {fold}, only {known}. Add it to data.folds and gather again."
            )
        return self.provenance.made_from[f"fold{fold}"]

    def rows_of_folds(self, folds: Sequence[int]) -> np.ndarray:
        """Row numbers of the tiles of `folds`, in order."""
        return np.flatnonzero(np.isin(self.all("fold"), list(folds)))


def write_family(
    path: Path, fmt: Format, members: Sequence[Member], names: dict[str, np.ndarray], origin: Provenance
) -> None:
    """Write a family store over `members`.

    Args:
        names: Columns that the folds' stores do not hold, concatenated over members.
    """
    fold, row = _places(members)
    stored = {**names, "fold": fold, "row": row}
    pieces = [piece for member in members for piece in pieces_of(member.store, member.fold)]
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        virtual = [column.name for column in fmt.columns if column.name not in stored and len(row)]
        for column in fmt.columns:
            tail = members[0].store.shape(column.name)[1:] if column.name not in stored else ()
            if column.name in virtual:
                create_virtual(file, column, tail, pieces, Places(fold, row), path)
            else:
                rows = stored.get(column.name, np.empty((0, *tail)))
                file.create_dataset(column.name, data=rows.astype(column.dtype))
        record_pieces(file, pieces, virtual, path)
        seal(file, fmt, family_sha256(path, members), origin)


def family_sha256(path: Path, members: Sequence[Member]) -> str:
    """Content hash of the family store at `path`: the stores behind it, and which of their rows it has."""
    fold, row = _places(members)
    behind = {os.path.relpath(m.store.path.resolve(), path.resolve().parent): m.store.content_sha256 for m in members}
    return combined({**behind, "members": hashlib.sha256(fold.tobytes() + row.tobytes()).hexdigest()})


def _places(members: Sequence[Member]) -> Places:
    """Fold and row within it of each row of the family."""
    fold = np.concatenate([np.full(len(member.rows), member.fold, np.int32) for member in members])
    return Places(fold, np.concatenate([member.rows.astype(np.int32) for member in members]))
