"""Tile stores: annotated tiles of one fold, in memory and on disk, and the documents about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8
from pydantic import Field

from cellvit.errors import ContractError
from cellvit.formats.dataset import NOT_ANNOTATED, PANNUKE, DataSet
from cellvit.formats.documents import Check, Document, Number, Record, Values
from cellvit.formats.hdf5 import ROW_COLUMN, Column, Format, Rows, Store, as_names
from cellvit.formats.writing import StoreWriter

ID_DTYPE: Final = "S16"
"""Tile ids ``f{fold}-{row:05d}`` as fixed ASCII."""

NAME_BYTES: Final = 64
"""Longest name of a patient, slide or source in UTF-8; a slide of TCGA with its UUID takes 60."""

NAME_DTYPE: Final = f"S{NAME_BYTES}"

ORIGIN_BYTES: Final = 160
"""Longest origin of a tile in UTF-8: the user's file and the position in it, as ``slide_03.png x=256 y=0``."""

_ORIGIN_DTYPE: Final = f"S{ORIGIN_BYTES}"

TILES: Final = Format(
    "cellvit-tiles",
    8,
    (
        Column("image", "uint8", (256, 256, 3)),
        Column("instances", "int32", (256, 256), compressed=True),
        Column("classes", "uint8", (256, 256), compressed=True),
        Column("organ", NAME_DTYPE),
        Column("tile_id", ID_DTYPE),
        Column("patient", NAME_DTYPE),
        Column("source", NAME_DTYPE),
        Column("origin", _ORIGIN_DTYPE),
        ROW_COLUMN,
    ),
)


_OPTIONAL: Final = ("patient", "source", "origin")
"""Columns that may be left out of a batch."""


@dataclass(frozen=True, slots=True)
class TileBatch:
    """Annotated tiles of 256 px, at the resolution of their data set.

    Attributes:
        image: RGB, 0..255.
        instances: Instance labels of each tile; 0 is background, 1..n without gaps.
        classes: Number of the class of each pixel: that of a nucleus exactly where `instances` is above 0, elsewhere 0, the
            background, or `NOT_ANNOTATED`.
        organ: Organ of each tile, as the data set spells it; empty where it has no organs.
        tile_id: ``f{fold}-{row:05d}``; unique over all folds and stable across runs.
        patient: Patient (or slide) of each tile; empty where unknown, as all are where it is left out.
        source: Laboratory or data set that each tile comes from; likewise.
        origin: The user's file and the position in it that each tile was cut from; empty for PanNuke, likewise.
        dataset: Classes, organs and resolution of the tiles.
    """

    image: UInt8[np.ndarray, "b 256 256 3"]
    instances: Int32[np.ndarray, "b 256 256"]
    classes: UInt8[np.ndarray, "b 256 256"]
    organ: tuple[str, ...]
    tile_id: tuple[str, ...]
    patient: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    dataset: DataSet = PANNUKE

    def __post_init__(self) -> None:
        n = len(self.tile_id)
        for name in _OPTIONAL:
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * n)
        where = f"tiles {self.tile_id[0]} to {self.tile_id[-1]}" if n else "empty batch of tiles"
        for column in TILES.columns[:3]:
            array, shape = getattr(self, column.name), (n, *column.axes)
            if array.dtype != column.dtype or array.shape != shape:
                raise ContractError(
                    f"{where}: `{column.name}` must be {column.dtype} {shape}, found {array.dtype} {array.shape}. "
                    "Prepare the fold again: snakemake --forcerun prepare_fold"
                )
        organs, last = self.dataset.organs or ("",), self.dataset.n_classes
        unknown = sorted(set(self.organ) - set(organs))
        if unknown or len(self.organ) != n:
            known = ", ".join(self.dataset.organs) or "none (every organ is empty)"
            raise ContractError(
                f"{where}: {n} organs of the data set {self.dataset.name} expected, found {len(self.organ)}, unknown "
                f"{unknown}. Its organs: {known}"
            )
        for name in _OPTIONAL:
            if len(getattr(self, name)) != n:
                found = len(getattr(self, name))
                raise ContractError(f"{where}: one {name} for each of {n} tiles expected, found {found}")
        known = self.classes != NOT_ANNOTATED
        largest = int(self.classes[known].max(initial=0))
        if n and (self.instances.min() < 0 or largest > last):
            raise ContractError(
                f"{where}: instance labels are 0 and up, classes 0..{last} or {NOT_ANNOTATED} (not annotated), found {largest}"
            )
        if not np.array_equal(self.instances > 0, known & (self.classes > 0)):
            raise ContractError(
                f"{where}: `classes` must be background, or {NOT_ANNOTATED} for not annotated, exactly where `instances` is "
                "0; background would count as nuclei. Prepare the fold again: snakemake --forcerun prepare_fold"
            )

    def __len__(self) -> int:
        return len(self.tile_id)

    @property
    def annotated_share(self) -> Float64[np.ndarray, " b"]:
        """Share of the pixels of each tile that are annotated, 0..1."""
        share: Float64[np.ndarray, " b"] = (self.classes != NOT_ANNOTATED).mean(axis=(1, 2))
        return share


class NotAnnotated(Record):
    """How much of some tiles is not annotated, and counts nowhere.

    Attributes:
        share: Share of all their pixels, 0..1.
        n_partly: Tiles of which a part is not annotated.
        n_wholly: Tiles without an annotated pixel; none of them is scored.
    """

    share: Number = 0.0
    n_partly: int = 0
    n_wholly: int = 0

    @classmethod
    def of(cls, annotated_share: Float64[np.ndarray, " n"]) -> Self:
        """From the annotated share of each tile (`TileBatch.annotated_share`). Without tiles, the missing share is 0.

        Examples:
            >>> NotAnnotated.of(np.array([1.0, 0.75, 0.5, 0.0]))
            NotAnnotated(share=0.4375, n_partly=2, n_wholly=1)
        """
        share = float(1 - annotated_share.mean()) if len(annotated_share) else 0.0
        n_wholly = int(np.count_nonzero(annotated_share == 0))
        return cls(share=share, n_partly=int(np.count_nonzero(annotated_share < 1)) - n_wholly, n_wholly=n_wholly)


class FoldSummary(Document):
    """What `prepare_fold` found in a fold, and what it resolved or dropped.

    Attributes:
        n_patients: Patients that patients.npy names; 0 without that file.
        n_tiles_without_patient: Tiles whose patient is unknown.
        tiles_by_source: Tiles of each source that sources.npy names; empty without that file.
        coverage: Share of nuclear pixels among those that are annotated.
        not_annotated: Tiles and pixels that are not annotated.
        empty_tiles: Ids of tiles without a nucleus.
        overlap_px: Pixels that more than one class channel claims; the later channel has them.
        nuclei_painted_over: Nuclei that later channels cover completely; they are in no map.
        background_mismatch_px: Pixels in which the background channel contradicts the classes; the classes decide.
        warnings: What the checks of images and annotation found and did not stop the run for (docs/checks.md).
    """

    format: Literal["cellvit-fold-summary"] = "cellvit-fold-summary"
    version: int = 4
    fold: int
    n_tiles: int
    n_patients: int = 0
    n_tiles_without_patient: int = 0
    tiles_by_organ: dict[str, int]
    tiles_by_source: dict[str, int] = Field(default_factory=dict)
    nuclei_by_class: dict[str, int]
    coverage: Number
    not_annotated: NotAnnotated = NotAnnotated()
    empty_tiles: tuple[str, ...]
    overlap_px: int
    nuclei_painted_over: int
    background_mismatch_px: int
    warnings: tuple[str, ...] = ()


class TargetCheck(Document):
    """`check_targets` passed for a fold; the upper bound is the best that any decoder can reach on these tiles.

    Attributes:
        coverage: Share of nuclear pixels among those that are annotated.
        not_annotated: Tiles and pixels that are not annotated.
        hv_length: Mean length of the HV vectors of the ground truth over nuclear pixels.
        upper_bound: aji, pq and dice of ground truth -> maps -> nuclei, means over tiles, by method of decoding.
        upper_bound_aji_by_organ: AJI of the better method, by organ.
    """

    format: Literal["cellvit-target-check"] = "cellvit-target-check"
    version: int = 4
    fold: int
    n_tiles: int
    n_nuclei: int
    tiles_by_organ: dict[str, int]
    nuclei_by_class: dict[str, int]
    coverage: Number
    not_annotated: NotAnnotated = NotAnnotated()
    hv_length: Number
    upper_bound: dict[str, Values]
    upper_bound_aji_by_organ: Values
    checks: tuple[Check, ...]


class FoldsCheck(Document):
    """`check_folds` passed: no image has two roles in a split.

    Attributes:
        compared: Pairs of folds that have different roles in a split.
        warnings: Near copies that were found (docs/checks.md).
    """

    format: Literal["cellvit-folds-check"] = "cellvit-folds-check"
    version: int = 1
    n_tiles: int
    compared: tuple[tuple[int, int], ...]
    warnings: tuple[str, ...]


Groups = Int64[np.ndarray, " n"] | None
"""Number of each tile's group; None where tiles are sampled one by one."""


def groups_of(patient: Sequence[str]) -> Groups:
    """Group of each tile: its patient, or the tile alone where that is unknown; None where no patient is known.

    Groups are numbered in the order in which they appear, so that patients of one tile each are sampled exactly as
    tiles are.

    Examples:
        >>> groups_of(["TCGA-A1", "", "TCGA-A1", ""]).tolist()
        [0, 1, 0, 2]
    """
    if not any(patient):
        return None
    numbers: dict[str | int, int] = {}
    return np.array([numbers.setdefault(name or row, len(numbers)) for row, name in enumerate(patient)], np.int64)


def n_patients(patient: Sequence[str]) -> int:
    """Number of different patients with a name; 0 where none is known."""
    return len({name for name in patient if name})


def tile_id_of(fold: int, row: int) -> str:
    """Id of a tile by its fold and its row there, as ``f3-00017``."""
    return f"f{fold}-{row:05d}"


def fold_of(tile_id: str) -> int:
    """Fold of a tile by its id."""
    return int(tile_id[1:].partition("-")[0])


def open_tiles(path: Path) -> Store:
    """The tile store of one fold, open for reading."""
    return Store(path, TILES)


def read_tiles(store: Rows, rows: np.ndarray) -> TileBatch:
    """Tiles at `rows`, in that order."""
    return TileBatch(
        image=store.read("image", rows),
        instances=store.read("instances", rows),
        classes=store.read("classes", rows),
        organ=store.names("organ", rows),
        tile_id=store.names("tile_id", rows),
        patient=store.names("patient", rows),
        source=store.names("source", rows),
        origin=store.names("origin", rows),
        dataset=store.dataset,
    )


def append_tiles(writer: StoreWriter, batch: TileBatch) -> None:
    """Write the next tiles of a store."""
    writer.append(
        image=batch.image,
        instances=batch.instances,
        classes=batch.classes,
        organ=as_names(batch.organ, NAME_DTYPE),
        tile_id=as_names(batch.tile_id, ID_DTYPE),
        patient=as_names(batch.patient, NAME_DTYPE),
        source=as_names(batch.source, NAME_DTYPE),
        origin=as_names(batch.origin, _ORIGIN_DTYPE),
    )
