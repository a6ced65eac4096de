"""Scores of every tile by system: the rows of {family}_tiles.csv."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, Shaped

from cellvit.errors import ContractError
from cellvit.formats.atomic import write_text
from cellvit.formats.cells import cell_text, safe_cell
from cellvit.formats.tables import read_table
from cellvit.formats.tiles import Groups, fold_of, groups_of, n_patients

KEYS: Final = ("tile_id", "organ", "fold", "patient", "source", "origin", "family", "system")
"""Columns of text that come first in the file; fold follows from the id, system names the set of scores."""

TEXTS: Final = ("tile_id", "organ", "patient", "source", "origin", "family")
"""Columns of text of `TileScores`."""


@dataclass(frozen=True, slots=True, eq=False)
class TileScores:
    """Scores of one system, a row per tile.

    Attributes:
        table: tile_id, organ (true), patient, source and origin (empty if unknown) and family (whose decoder was used)
            as text, then the scores, NaN where undefined.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if tuple(self.table.columns[: len(TEXTS)]) != TEXTS or len(set(self.columns)) < len(self.columns):
            raise ContractError(
                f"tile scores: expected the columns {', '.join(TEXTS)}, then every score once, found "
                f"{', '.join(self.table.columns)}"
            )
        if self.table["tile_id"].duplicated().any():
            raise ContractError("tile scores: every tile must have one row, found a tile that has several")

    @classmethod
    def of(
        cls, texts: Mapping[str, Sequence[str]], columns: Sequence[str], values: Float64[np.ndarray, "n k"]
    ) -> "TileScores":
        """Scores from arrays; `texts` holds the columns of `TEXTS`."""
        left = pd.DataFrame({name: np.array(texts[name], object) for name in TEXTS})
        return cls(pd.concat([left, pd.DataFrame(values, columns=pd.Index(columns))], axis=1))

    @classmethod
    def none(cls, columns: Sequence[str]) -> "TileScores":
        """No tile, the start of a sum."""
        return cls.of(dict.fromkeys(TEXTS, ()), columns, np.zeros((0, len(columns))))

    def __len__(self) -> int:
        return len(self.table)

    def __add__(self, other: "TileScores") -> "TileScores":
        if self.columns != other.columns:
            raise ContractError("tile scores with different columns cannot be joined")
        parts = [part.table for part in (self, other) if len(part)]
        return TileScores(pd.concat(parts, ignore_index=True)) if parts else self

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the scores."""
        return tuple(self.table.columns[len(TEXTS) :])

    def text(self, name: str) -> tuple[str, ...]:
        """One of the columns of `TEXTS`."""
        return tuple(self.table[name].tolist())

    @property
    def organs(self) -> Shaped[np.ndarray, " n"]:
        """True organ of each tile, as an array."""
        return np.array(self.text("organ"), dtype=np.str_)

    @property
    def groups(self) -> Groups:
        """What intervals of these tiles sample: patients if any is known, else tiles (None)."""
        return groups_of(self.text("patient"))

    @property
    def n_patients(self) -> int:
        """Number of patients with a name; 0 if none is known."""
        return n_patients(self.text("patient"))

    @property
    def n_tiles_without_patient(self) -> int:
        """Tiles whose patient is unknown."""
        return self.text("patient").count("")

    def column(self, name: str) -> Float64[np.ndarray, " n"]:
        """One score of every tile."""
        return self.table[name].to_numpy(np.float64)

    def block(self, names: Sequence[str]) -> Float64[np.ndarray, "n m"]:
        """Several scores of every tile, in the order asked for.

        Row by row in memory, so that sums over tiles always add in the same order.
        """
        return np.ascontiguousarray(self.table[list(names)].to_numpy(np.float64))

    def where(self, selected: Bool[np.ndarray, " n"]) -> "TileScores":
        """The tiles for which `selected` is true, in order."""
        return self.rows(np.flatnonzero(selected))

    def rows(self, numbers: Int64[np.ndarray, " r"]) -> "TileScores":
        """The tiles at these row numbers, in the order asked for."""
        return TileScores(self.table.iloc[numbers].reset_index(drop=True))


def write_tile_scores(path: Path, systems: Mapping[str, TileScores], columns: Sequence[str]) -> None:
    """Write the tiles of every system under one header; the header alone if there is none.

    A text that a spreadsheet would take for a formula is written with an apostrophe before it.
    """
    header = ",".join((*KEYS, *columns)) + "\n"
    write_text(path, header + "".join(_lines(system, tiles) for system, tiles in systems.items()))


def read_tile_scores(path: Path, columns: Sequence[str]) -> dict[str, TileScores]:
    """Tiles by system, bit for bit as written; no system if the file has the header alone.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It has other columns.
    """
    table = read_table(path, (*KEYS, *columns), columns)
    table[list(TEXTS)] = table[list(TEXTS)].map(cell_text)
    by_system = table.groupby("system", sort=False)
    return {str(system): TileScores(rows[[*TEXTS, *columns]].reset_index(drop=True)) for system, rows in by_system}


def _lines(system: str, tiles: TileScores) -> str:
    scores = tiles.table[list(tiles.columns)].map(_cell)
    fold = [fold_of(tile_id) for tile_id in tiles.text("tile_id")]
    table = tiles.table[list(TEXTS)].map(safe_cell).assign(fold=fold, system=system)[list(KEYS)].join(scores)
    return str(table.to_csv(index=False, header=False, lineterminator="\n"))


def _cell(value: float) -> str:
    """Undefined is an empty cell, whole numbers have no point, others have the shortest text that reads back."""
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else repr(value)
