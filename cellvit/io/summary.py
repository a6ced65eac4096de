"""summary.csv: every figure of a run in one table; undefined numbers are empty cells."""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from cellvit.contracts.summary import SummaryRow
from cellvit.errors import ContractError, MissingInputError
from cellvit.io.atomic import write_text


def write_summary(path: Path, rows: Iterable[SummaryRow]) -> None:
    """Write the rows under a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SummaryRow._fields)
    for row in rows:
        numbers = ("" if math.isnan(number) else repr(number) for number in (row.value, row.low, row.high))
        writer.writerow((row.split, row.family, row.metric, *numbers, row.n, row.gate))
    write_text(path, text.getvalue())


def read_summary(path: Path) -> tuple[SummaryRow, ...]:
    """The rows, as written.

    Raises:
        MissingInputError: There is no file.
        ContractError: Its columns are others.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != SummaryRow._fields:
        raise ContractError(
            f"{path}: columns {', '.join(SummaryRow._fields)} expected, found {', '.join(header)}. "
            f"Make it again: rm {path} && snakemake -- {path}"
        )
    return tuple(_row(cells) for cells in rows)


def _row(cells: list[str]) -> SummaryRow:
    split, family, metric, *numbers, n, gate = cells
    value, low, high = (float(number) if number else math.nan for number in numbers)
    return SummaryRow(split, family, metric, value, low, high, int(n), gate)  # type: ignore[arg-type]  # as written
