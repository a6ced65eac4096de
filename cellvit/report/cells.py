"""Tables as records: what the page shows, before it becomes HTML."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from cellvit.formats.documents import Value
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.metrics.intervals import MIN_UNITS

DECIMALS = 3
"""Digits after the point: the spread between seeds on PanNuke is about .002 mPQ, so a fourth digit means nothing."""


class Cell(NamedTuple):
    """One cell of a table.

    Attributes:
        interval: Ends of the interval, in small print after the text; `n` likewise.
        kind: CSS classes: number, undefined, absent, and the grades pass, partial, fail.
        hint: Tooltip.
        shade: Strength of the background, 0..1.
        span: Number of columns that the cell covers.
    """

    text: str
    interval: str = ""
    n: str = ""
    kind: str = ""
    hint: str = ""
    shade: float = 0.0
    span: int = 1


class Row(NamedTuple):
    """A row of a table with small print under its heading; `group` is a heading above this row and those after it."""

    heading: str
    cells: tuple[Cell, ...]
    note: str = ""
    group: str = ""


class Table(NamedTuple):
    """A table with its caption, a note below it and its CSS classes; `corner` heads the column of headings."""

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    kind: str = "results"


FEW_UNITS = f"no interval: fewer than {MIN_UNITS} patients (or tiles, if no patient is known) define this value"
NO_SPREAD = "no interval: all patients (or tiles) agree, or one of them alone makes the value defined"
"""Why a value has no interval."""

ABSENT = Cell("–", kind="absent", hint="not measured")


def value_cell(value: Value | None) -> Cell:
    """A value with its interval and n; an undefined one is named so.

    Examples:
        >>> value_cell(Value(value=0.51234, low=0.5, high=0.53, n=9))
        Cell(text='0.512', interval='0.500 to 0.530', n='n = 9', kind='number', hint='', shade=0.0, span=1)
        >>> value_cell(Value(value=math.nan, n=0)).text
        'undefined (n = 0)'
    """
    if value is None:
        return ABSENT
    if math.isnan(value.value):
        return Cell(f"undefined (n = {value.n})", kind="undefined", hint="no tile defines this value")
    n = f"n = {value.n:,}"
    if math.isnan(value.low) and value.units:
        reason = NO_SPREAD if value.units >= MIN_UNITS else FEW_UNITS
        return Cell(number(value.value), interval="no interval", n=n, kind="number", hint=reason)
    return Cell(number(value.value), interval=interval(value), n=n, kind="number")


def range_cell(row: SummaryRow | None) -> Cell:
    """The value of a row of summary.csv: with its interval, or with the range of the splits in a row of means."""
    cell = value_cell(value_of(row))
    return as_range(cell) if row and row.split == MEAN_SPLIT else cell


def as_range(cell: Cell) -> Cell:
    """The cell of a mean over splits, whose small print is the range of the splits and not an interval."""
    return cell._replace(interval=f"range {cell.interval}") if cell.interval else cell


def value_of(row: SummaryRow | None) -> Value | None:
    """The value of a row of summary.csv; the ends are those of the splits in a row of means."""
    if row is None:
        return None
    low, high = (row.split_min, row.split_max) if row.split == MEAN_SPLIT else (row.low, row.high)
    return Value(value=row.value, low=low, high=high, n=row.n, units=row.units)


def number(value: float) -> str:
    """A number with a fixed number of decimals; a dash where it is undefined."""
    return "–" if math.isnan(value) else f"{value:,.{DECIMALS}f}"


def defined(value: float) -> str:
    """A number in a sentence; a word where it is undefined.

    Examples:
        >>> defined(0.61234), defined(math.nan)
        ('0.612', 'undefined')
    """
    return "undefined" if math.isnan(value) else number(value)


def interval(value: Value) -> str:
    """Ends of the interval; empty where there is none."""
    if math.isnan(value.low) or math.isnan(value.high):
        return ""
    return f"{number(value.low)} to {number(value.high)}"


def number_cell(text: str) -> Cell:
    """A number that is text already."""
    return Cell(text, kind="number")


def count_cell(count: int) -> Cell:
    """A count."""
    return number_cell(f"{count:,}")


def text_table(caption: str, columns: tuple[str, str], items: Mapping[str, str], *, kind: str = "facts") -> Table:
    """Two columns of text: names and their values."""
    rows = tuple(Row(name, (Cell(value),)) for name, value in items.items())
    return Table(caption, columns[0], columns[1:], rows, kind=kind)


def absent_row(heading: str, reason: str, n_columns: int) -> Row:
    """A row that says why there are no values."""
    return Row(heading, (Cell(f"absent: {reason}", kind="reason", span=n_columns),))
