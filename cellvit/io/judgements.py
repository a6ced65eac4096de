"""Measurements of tiles as CSV: one row a tile and system; an undefined measurement is an empty cell."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from cellvit.contracts.judgements import KEYS, JudgedTiles, fold_of
from cellvit.errors import ContractError, MissingInputError
from cellvit.io.atomic import write_text


def write_judged(path: Path, systems: Mapping[str, JudgedTiles], columns: tuple[str, ...]) -> None:
    """Write the tiles of every system under one header; the header alone where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*KEYS, *columns))
    for system, tiles in systems.items():
        writer.writerows(_rows(system, tiles))
    write_text(path, text.getvalue())


def read_judged(path: Path, columns: tuple[str, ...]) -> dict[str, JudgedTiles]:
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


def _rows(system: str, tiles: JudgedTiles) -> Iterator[list[str]]:
    columns = (tiles.tile_id, tiles.organ, tiles.patient, tiles.family, tiles.values)
    for tile_id, organ, patient, family, values in zip(*columns, strict=True):
        keys = [tile_id, organ, str(fold_of(tile_id)), patient, family, system]
        yield keys + [_text(value) for value in values.tolist()]


def _text(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def _tiles(rows: list[list[str]], columns: tuple[str, ...]) -> JudgedTiles:
    values = [[float(cell) if cell else math.nan for cell in row[len(KEYS) :]] for row in rows]
    tile_id, organ, _, patient, family, _ = (tuple(row[place] for row in rows) for place in range(len(KEYS)))
    return JudgedTiles(tile_id, organ, patient, family, columns, np.array(values, np.float64))
