"""What was measured on each tile of a set: the rows of {family}_tiles.csv."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.tiles import Groups, fold_of, groups_of, n_patients

KEYS: Final = ("tile_id", "organ", "fold", "patient", "family", "system")
"""Columns of text that come first in the file; fold follows from the id, system names the set."""


@dataclass(frozen=True, slots=True, eq=False)
class TileScores:
    """One system's measurements, one row a tile.

    Attributes:
        tile_id: Ids of the tiles, each once.
        organ: True organ of each tile.
        patient: Patient (or slide) of each tile; empty where unknown.
        family: Family whose decoder judged the tile.
        columns: Names of the measurements.
        values: Measurements; NaN where undefined on a tile.
    """

    tile_id: tuple[str, ...]
    organ: tuple[str, ...]
    patient: tuple[str, ...]
    family: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float64[np.ndarray, "n k"]

    def __post_init__(self) -> None:
        n, lengths = len(self.tile_id), (len(self.organ), len(self.patient), len(self.family))
        if lengths != (n, n, n) or self.values.shape != (n, len(self.columns)):
            raise ContractError(
                f"judged tiles: {n} ids, {lengths} organs, patients and families and {len(self.columns)} columns do not "
                f"belong to values of shape {self.values.shape}"
            )
        if len(set(self.tile_id)) != n or len(set(self.columns)) != len(self.columns):
            raise ContractError("judged tiles: every tile and every column stands once, found one twice")

    def __len__(self) -> int:
        return len(self.tile_id)

    @property
    def organs(self) -> Shaped[np.ndarray, " n"]:
        """True organ of each tile, as an array."""
        return np.array(self.organ, dtype=np.str_)

    @property
    def fold(self) -> Int64[np.ndarray, " n"]:
        """Fold of each tile, as its id says."""
        return np.array([fold_of(name) for name in self.tile_id], np.int64)

    @property
    def groups(self) -> Groups:
        """What intervals of these tiles draw: patients where any is known, else tiles (None)."""
        return groups_of(self.patient)

    @property
    def n_patients(self) -> int:
        """Patients that are named; 0 where none is known."""
        return n_patients(self.patient)

    @property
    def n_tiles_without_patient(self) -> int:
        """Tiles whose patient is unknown."""
        return self.patient.count("")

    def column(self, name: str) -> Float64[np.ndarray, " n"]:
        """One measurement of every tile."""
        values: Float64[np.ndarray, " n"] = self.values[:, self.columns.index(name)]
        return values

    def block(self, names: Sequence[str]) -> Float64[np.ndarray, "n m"]:
        """Several measurements of every tile, in the order asked for.

        Row by row in memory, so that sums over tiles add in the same order however the rows were come by.
        """
        return np.ascontiguousarray(self.values[:, [self.columns.index(name) for name in names]])

    def where(self, kept: Bool[np.ndarray, " n"]) -> "TileScores":
        """The tiles for which `kept` is true, in order."""
        rows = np.flatnonzero(kept)
        return TileScores(
            tile_id=tuple(self.tile_id[row] for row in rows),
            organ=tuple(self.organ[row] for row in rows),
            patient=tuple(self.patient[row] for row in rows),
            family=tuple(self.family[row] for row in rows),
            columns=self.columns,
            values=self.values[rows],
        )

    def __add__(self, other: "TileScores") -> "TileScores":
        if self.columns != other.columns:
            raise ContractError("judged tiles with different columns cannot be put together")
        return TileScores(
            tile_id=self.tile_id + other.tile_id,
            organ=self.organ + other.organ,
            patient=self.patient + other.patient,
            family=self.family + other.family,
            columns=self.columns,
            values=np.concatenate([self.values, other.values]),
        )

    @classmethod
    def none(cls, columns: tuple[str, ...]) -> "TileScores":
        """No tile, the start of a sum."""
        return cls((), (), (), (), columns, np.zeros((0, len(columns))))


def write_tile_scores(path: Path, systems: Mapping[str, TileScores], columns: tuple[str, ...]) -> None:
    """Write the tiles of every system under one header; the header alone where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*KEYS, *columns))
    for system, tiles in systems.items():
        writer.writerows(_rows(system, tiles))
    write_text(path, text.getvalue())


def read_tile_scores(path: Path, columns: tuple[str, ...]) -> dict[str, TileScores]:
    """Tiles by system, bit for bit as written; no system where only the header is there.

    Raises:
        MissingInputError: There is no file.
        ContractError: Its columns are others.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != (*KEYS, *columns):
        unlike = sorted(set(header) ^ {*KEYS, *columns})
        raise ContractError(
            f"{path}: other columns than expected: {', '.join(unlike) or 'another order'}. "
            f"Make it again: rm {path} && snakemake -- {path}"
        )
    by_system: dict[str, list[list[str]]] = {}
    for row in rows:
        by_system.setdefault(row[KEYS.index("system")], []).append(row)
    return {system: _tiles(found, columns) for system, found in by_system.items()}


def _rows(system: str, tiles: TileScores) -> Iterator[list[str]]:
    columns = (tiles.tile_id, tiles.organ, tiles.patient, tiles.family, tiles.values)
    for tile_id, organ, patient, family, values in zip(*columns, strict=True):
        keys = [tile_id, organ, str(fold_of(tile_id)), patient, family, system]
        yield keys + [_text(value) for value in values.tolist()]


def _text(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def _tiles(rows: list[list[str]], columns: tuple[str, ...]) -> TileScores:
    values = [[float(cell) if cell else math.nan for cell in row[len(KEYS) :]] for row in rows]
    tile_id, organ, _, patient, family, _ = (tuple(row[place] for row in rows) for place in range(len(KEYS)))
    return TileScores(tile_id, organ, patient, family, columns, np.array(values, np.float64))
