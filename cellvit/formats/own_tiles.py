"""`tiles.csv`: the images of a user's data set, their annotations, and what is known of each."""

import csv
import io
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from cellvit.errors import MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.cells import cell_text, safe_cell
from cellvit.formats.csv_lines import listed, read_lines, refuse_faults
from cellvit.formats.tiles import NAME_BYTES, ORIGIN_BYTES

TABLE: Final = "tiles.csv"
"""Name of the file."""

REQUIRED: Final = ("image", "annotation")
OPTIONAL: Final = ("organ", "patient", "fold", "mpp", "source", "member", "x", "y")
COLUMNS: Final = REQUIRED + OPTIONAL

_PATHS: Final = REQUIRED
_NAMES: Final = ("organ", "patient", "source")
_TEXTS: Final = (*_NAMES, "member")
_NUMBERS: Final = ("mpp", "x", "y")
_WHOLE: Final = ("organ", "fold", "x", "y")
"""Columns that are filled in for all images or for none."""

_PATH_BYTES: Final = ORIGIN_BYTES - 30
"""Longest path: tiles are named by it, and by their position in the image."""

_FIX: Final = "Fix: edit this file. docs/own_data.md describes every column."

_SHARED: Final = (".json",)
"""Formats in which one file (COCO) holds the annotations of many images, which it names itself."""


@dataclass(frozen=True, slots=True)
class OwnTile:
    """One image of a data set, as its line of tiles.csv says.

    Attributes:
        image, annotation: Paths from the folder of the data set, with "/".
        organ, patient, source: Empty where unknown.
        fold: 1, 2, ...; None if the folds are still to be made.
        mpp: Micrometres per pixel of the image; None if dataset.yaml or the image says it.
        member: The image in an annotation file of many; empty if the file has one.
        x, y: The image's top left corner in the coordinates of the annotation, in pixels of the image.
        line: Line in tiles.csv.
    """

    image: str
    annotation: str
    organ: str = ""
    patient: str = ""
    fold: int | None = None
    mpp: float | None = None
    source: str = ""
    member: str = ""
    x: float = 0.0
    y: float = 0.0
    line: int = 0


def read_own_tiles(path: Path) -> tuple[OwnTile, ...]:
    """The images of a data set, in the order of the file; no image is opened.

    Raises:
        MissingInputError: The table, or a file that it names, does not exist.
        ContractError: Columns are unknown, missing or repeated, or a value is wrong; up to ten faults are named.
    """
    cells = _cells(path)
    _refuse(path, [fault for line, row in cells for fault in _row_faults(line, row)])
    tiles = tuple(_tile(line, row) for line, row in cells)
    _refuse(path, list(_table_faults(tiles, cells)))
    absent = [f"line {tile.line}: {file}" for tile in tiles for file in _absent(path.parent, tile)]
    if absent:
        raise MissingInputError(
            f"{path}: {len(absent)} of the files that it names do not exist:\n  {listed(absent)}\n"
            f"Fix: correct the paths, which begin in {path.parent}, or remove the lines."
        )
    return tiles


def write_own_tiles(path: Path, tiles: Sequence[OwnTile]) -> None:
    """Write tiles.csv, with the optional columns that have a value, and those that a person is to fill in."""
    default = OwnTile("", "")
    used = {name for name in COLUMNS if any(getattr(tile, name) != getattr(default, name) for tile in tiles)}
    used |= {*REQUIRED, "organ", "patient", "fold", *(("x", "y") if used & {"x", "y"} else ())}
    columns = [name for name in COLUMNS if name in used]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_written(name, getattr(tile, name)) for name in columns] for tile in tiles)
    write_text(path, text.getvalue())


def _written(column: str, value: object) -> str:
    """A cell that no spreadsheet takes for a formula: a path then begins with ./, which is the same path, a text with an apostrophe.

    So does a path that begins with a blank, which readers of tables leave out.
    """
    if column in _PATHS and (safe_cell(str(value)) != value or str(value).startswith(" ")):
        return f"./{value}"
    if column in _TEXTS:
        return safe_cell(str(value))
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def _cells(path: Path) -> list[tuple[int, Mapping[str, str]]]:
    """Line number and cells by column, all text, of every line with content."""
    if not path.is_file():
        raise MissingInputError(
            f"{path}: the table of the images does not exist. Fix:  python -m cellvit init_dataset {shlex.quote(str(path.parent))}"
        )
    return read_lines(path, columns=COLUMNS, required=REQUIRED, fix=_FIX, pair=("x", "y"))


def _row_faults(line: int, row: Mapping[str, str]) -> Iterator[str]:
    """Faults of single cells."""
    for column, text in row.items():
        if not text:
            if column in _PATHS:
                yield f"line {line}, {column}: expected a path, found nothing"
            continue
        if text == "?":
            yield f"line {line}, {column}: still open; write a value, or leave the cell empty if it is unknown"
        elif column in _PATHS and (fault := _path_fault(text)):
            yield f"line {line}, {column}: {fault}, found {text!r}"
        elif column in _NAMES and (not text.isprintable() or len(text.encode()) > NAME_BYTES):
            yield f"line {line}, {column}: expected printable text of at most {NAME_BYTES} bytes, found {text[:80]!r}"
        elif column == "fold" and not (text.isascii() and text.isdigit() and int(text) > 0):
            yield f"line {line}, fold: expected a whole number from 1, found {text!r}"
        elif column in _NUMBERS and (fault := _number_fault(column, text)):
            yield f"line {line}, {column}: {fault}, found {text!r}"


def _path_fault(text: str) -> str:
    if not text.isprintable():
        return "expected printable text"
    if "\\" in text:
        return 'expected "/" between folders'
    if "{" in text or "}" in text:
        return "expected a path without { and }, which Snakemake replaces; rename the file or folder"
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        return "expected a path from the folder of this table, without .. in it"
    if len(text.encode()) > _PATH_BYTES:
        return f"expected a path of at most {_PATH_BYTES} bytes; shorten the names of files or folders"
    return ""


def _number_fault(column: str, text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return 'expected a number with "." before the decimals'
    if not math.isfinite(number) or (column == "mpp" and not 0.05 <= number <= 10):
        return "expected micrometres per pixel from 0.05 to 10" if column == "mpp" else "expected a finite number"
    return ""


def _tile(line: int, row: Mapping[str, str]) -> OwnTile:
    organ, patient, source, member = (cell_text(row.get(name, "")) for name in _TEXTS)
    return OwnTile(
        image=_plain(row["image"]),
        annotation=_plain(row["annotation"]),
        organ=organ,
        patient=patient,
        fold=int(row["fold"]) if row.get("fold") else None,
        mpp=float(row["mpp"]) if row.get("mpp") else None,
        source=source,
        member=member,
        x=float(row.get("x") or 0),
        y=float(row.get("y") or 0),
        line=line,
    )


def _plain(path: str) -> str:
    """A path in its shortest form, so that one file has one name."""
    return str(PurePosixPath(path))


def _table_faults(tiles: Sequence[OwnTile], cells: Sequence[tuple[int, Mapping[str, str]]]) -> Iterator[str]:
    """Faults that show only where lines are compared."""
    for column in _WHOLE:
        empty = [line for line, row in cells if not row.get(column, "")]
        if column in cells[0][1] and 0 < len(empty) < len(cells):
            yield f"line {empty[0]}, {column}: empty, but other lines have a value; give it for all images or for none"
        elif column in ("x", "y") and column in cells[0][1] and empty:
            yield f"the column {column!r} is empty; fill it in or remove it"
    folds = {tile.fold for tile in tiles if tile.fold is not None}
    if gaps := sorted({*range(1, max(folds, default=0) + 1)} - folds):
        yield f"fold: expected 1 to {max(folds)} without gaps, found no image in fold {gaps[0]}"
    for column in _NAMES:
        yield from _case_faults(column, {getattr(tile, column) for tile in tiles})
    yield from _repeated(((tile.line, (tile.image, tile.member)) for tile in tiles), "image")
    own = (tile for tile in tiles if not tile.annotation.endswith(_SHARED))
    yield from _repeated(((tile.line, (tile.annotation, tile.member, tile.x, tile.y)) for tile in own), "annotation")


def _case_faults(column: str, names: Iterable[str]) -> Iterator[str]:
    spelled: dict[str, str] = {}
    for name in sorted(names):
        other = spelled.setdefault(name.casefold(), name)
        if other != name:
            yield f"{column}: {other!r} and {name!r} differ in upper and lower case only; spell a name in one way"


def _repeated(lines: Iterable[tuple[int, tuple[object, ...]]], what: str) -> Iterator[str]:
    first: dict[tuple[object, ...], int] = {}
    for line, key in lines:
        if (earlier := first.setdefault(key, line)) != line:
            yield f"line {line}: the {what} {key[0]!r} is already in line {earlier}"


def _absent(root: Path, tile: OwnTile) -> Iterator[str]:
    return (file for file in (tile.image, tile.annotation) if not (root / file).exists())


def _refuse(path: Path, faults: Sequence[str]) -> None:
    refuse_faults(path, faults, fix=_FIX)
