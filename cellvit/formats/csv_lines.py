"""CSV tables that people write: whatever is wrong with one is named by its line, and up to ten faults at once."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Final

from cellvit.errors import ContractError
from cellvit.formats.not_a_file import not_a_file

_SHOWN: Final = 10
"""Faults of a file that a message lists; the others are counted."""


def read_lines(
    path: Path, *, columns: Sequence[str], required: Sequence[str], fix: str, pair: tuple[str, str] | None = None
) -> list[tuple[int, Mapping[str, str]]]:
    """Line number and cells by column, all text, of every line with content; at least one.

    Args:
        columns: All columns that the table may have, those of `required` included.
        fix: What a reader of an error is told to do.
        pair: Two columns of which a table has both or none.

    Raises:
        ContractError: The file is not a CSV table, columns are unknown, missing or repeated, or a line has too few cells.
    """
    if found := not_a_file(path):
        raise ContractError(
            f"{path}: expected a CSV table, found {found}. Fix: save the table as a file, and name that."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Spreadsheets of many countries write semicolons.
        head = text.partition("\n")[0]
        delimiter = next((sign for sign in ",;\t" if sign in head), ",")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ContractError(
            f'{path}: cannot be read as a CSV table ({error}). Fix: save it as "CSV UTF-8 (comma separated)".'
        ) from error
    header = lines[0][1] if lines else []
    faults = list(_header_faults(header, columns, required))
    if pair and (pair[0] in header) != (pair[1] in header):
        faults.append(f"the columns {pair[0]} and {pair[1]} belong together; add the other one")
    refuse_faults(path, faults, fix=fix)
    rows = [(line, row) for line, row in lines[1:] if any(row)]
    uneven = [
        f"line {line}: expected {len(header)} cells, found {len(row)}; put text with a comma into quotes"
        for line, row in rows
        if len(row) != len(header)
    ]
    refuse_faults(path, uneven or ([] if rows else ["no image is listed"]), fix=fix)
    return [(line, dict(zip(header, row, strict=True))) for line, row in rows]


def refuse_faults(path: Path, faults: Sequence[str], *, fix: str) -> None:
    """Raise an error that lists the faults, if there are any.

    Raises:
        ContractError: There are faults.
    """
    if faults:
        raise ContractError(f"{path}: the table of the images is not valid:\n  {listed(faults)}\n{fix}")


def listed(faults: Sequence[str]) -> str:
    """The first faults, one a line, and the number of the others."""
    rest = len(faults) - _SHOWN
    return "\n  ".join([*islice(faults, _SHOWN), *([f"and {rest} more"] if rest > 0 else [])])


def _header_faults(header: Sequence[str], columns: Sequence[str], required: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(name for name in header if name not in columns):
        if number >= _SHOWN:  # is counted, not shown, and comparing a million of them would take minutes
            yield f"unknown column {name!r}"
        else:
            near = get_close_matches(name.lower(), columns, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; the columns are {', '.join(columns)}"
            yield f"unknown column {name!r}{hint}"
    yield from (f"the column {name!r} is missing" for name in required if name not in header)
    yield from (f"the column {name!r} occurs twice" for name in _twice(header))


def _twice(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
