"""Family stores: virtual datasets on the folds' stores. No copy, and no reading through a source that changed."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from cellvit.contracts.provenance import Provenance
from cellvit.contracts.stores import Column, Format
from cellvit.errors import ContractError, StaleFileError
from cellvit.io.atomic import replacing
from cellvit.io.hashing import combined
from cellvit.io.hdf5 import Store, seal

_SOURCES = "sources"
"""Attribute with the path (relative to the family store) and content hash of every store behind it, as JSON."""


@dataclass(frozen=True, slots=True)
class Member:
    """One fold's store and the rows of it that belong to the family."""

    fold: int
    store: Store
    rows: np.ndarray


class FamilyStore(Store):
    """A family store open for reading.

    Raises:
        StaleFileError: A store behind it is gone or has other content; HDF5 itself would silently read zeros.
    """

    def __init__(self, path: Path, fmt: Format) -> None:
        super().__init__(path, fmt)
        try:
            _check_sources(path, json.loads(self._file.attrs[_SOURCES]))
        except StaleFileError:
            self._file.close()
            raise

    def __enter__(self) -> "FamilyStore":
        return self

    @property
    def family(self) -> str:
        """Name of the family."""
        return str(self.provenance.settings["family"])

    def fold_sha256(self, fold: int) -> str:
        """Hash of what the family reads of one fold: the fold's store, and which of its rows.

        Raises:
            ContractError: The family was gathered without that fold.
        """
        if f"fold{fold}" not in self.provenance.made_from:
            known = ", ".join(self.provenance.made_from)
            raise ContractError(
                f"{self.path}: has no fold {fold}, only {known}. Add it to data.folds and gather again."
            )
        rows = self.all("row")[self.all("fold") == fold]
        return combined(
            {"store": self.provenance.made_from[f"fold{fold}"], "rows": hashlib.sha256(rows.tobytes()).hexdigest()}
        )

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
    fold = np.concatenate([np.full(len(member.rows), member.fold, np.int32) for member in members])
    row = np.concatenate([member.rows.astype(np.int32) for member in members])
    stored = {**names, "fold": fold, "row": row}
    sources = {
        os.path.relpath(member.store.path.resolve(), path.resolve().parent): member.store.content_sha256
        for member in members
    }
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        for column in fmt.columns:
            if column.name in stored:
                file.create_dataset(column.name, data=stored[column.name].astype(column.dtype))
            else:
                _create_virtual(file, column, members, path)
        file.attrs[_SOURCES] = json.dumps(sources)
        content = {**sources, "members": hashlib.sha256(fold.tobytes() + row.tobytes()).hexdigest()}
        seal(file, fmt, combined(content), origin)


def _create_virtual(file: h5py.File, column: Column, members: Sequence[Member], path: Path) -> None:
    n = sum(len(member.rows) for member in members)
    tail = members[0].store.shape(column.name)[1:]
    if not n:
        file.create_dataset(column.name, (0, *tail), column.dtype)
        return
    layout = h5py.VirtualLayout((n, *tail), column.dtype)
    start = 0
    for member in members:
        if not len(member.rows):
            continue
        relative = os.path.relpath(member.store.path.resolve(), path.resolve().parent)
        source = h5py.VirtualSource(relative, column.name, member.store.shape(column.name), column.dtype)
        layout[start : start + len(member.rows)] = source[member.rows.tolist()]
        start += len(member.rows)
    file.create_virtual_dataset(column.name, layout)


def _check_sources(path: Path, sources: dict[str, str]) -> None:
    remedy = f"Gather it again:  snakemake --forcerun gather_family -- {path}"
    for relative, expected in sources.items():
        source = path.resolve().parent / relative
        if not source.exists():
            raise StaleFileError(f"{path}: the store behind it is gone: {source}. {remedy}")
        with h5py.File(source, "r") as file:
            found = file.attrs.get("content_sha256") if file.attrs.get("complete") else None
        if found != expected:
            raise StaleFileError(
                f"{path} was gathered from another version of {source}.\n"
                f"  content_sha256: expected {expected[:12]}, found {str(found)[:12]}\n{remedy}"
            )
