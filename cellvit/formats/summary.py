"""Rows of summary.csv."""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.atomic import write_text
from cellvit.formats.documents import Digests, Document

Grade = Literal["pass", "partial", "fail", "undefined", ""]
"""How a row does at its gate; undefined where the value is NaN, empty where nothing grades it."""


MEAN_SPLIT = "mean"
"""Split of rows that are means over all splits, as published results are."""


class SummaryRow(NamedTuple):
    """One figure of one family on one split.

    Attributes:
        split: Name of the split; `MEAN_SPLIT` for the mean over splits.
        family: Family of decoders; routed and known_organ for all test tiles, organ_head for OrganHead.
        metric: Name of the figure; another system than the family's own follows after a dot (``aji.classical``).
        value: NaN where undefined.
        low: Lower end of the 95 % bootstrap interval; in mean rows the least split.
        high: Upper end; in mean rows the greatest split.
        n: Tiles that define the value; in mean rows splits.
        gate: Grade.
    """

    split: str
    family: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    gate: Grade = ""


class SummaryOrigin(Document):
    """What summary.csv was made from, and what it must say.

    Attributes:
        tables: Digests (sha256) of summary.csv and summary.txt under their names.
    """

    format: Literal["cellvit-summary-origin"] = "cellvit-summary-origin"
    tables: Digests


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
