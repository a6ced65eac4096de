"""Tables as records: what the page shows, before it is HTML."""

import math
from dataclasses import dataclass

from cellvit.formats.documents import Value

DECIMALS = 3
"""Digits after the point: the spread between seeds on PanNuke is about .002 mPQ, so a fourth says nothing."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What stands there.
        interval: Ends of the interval, shown smaller behind it.
        n: What the figure was measured on, shown smaller behind it.
        kind: CSS classes: number, undefined, absent, and the grades pass, partial, fail.
        hint: Tooltip.
        shade: Strength of the cell's background, 0..1.
        span: Columns that it covers.
    """

    text: str
    interval: str = ""
    n: str = ""
    kind: str = ""
    hint: str = ""
    shade: float = 0.0
    span: int = 1


@dataclass(frozen=True, slots=True)
class Row:
    """A row under its heading.

    Attributes:
        note: Smaller text under the heading, as the convention of a metric.
        group: Heading over this row and those that follow, where it is not that of the row before.
    """

    heading: str
    cells: tuple[Cell, ...]
    note: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption.

    Attributes:
        corner: Heading of the column of headings.
        note: What the reader must know about these figures.
        kind: CSS classes of the table.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    kind: str = ""


ABSENT = Cell("–", kind="absent", hint="not measured")
"""Cell without a figure: the system or metric does not exist here."""


def figure_cell(figure: Value | None) -> Cell:
    """Value, interval and n of a figure; an undefined one says so.

    Examples:
        >>> figure_cell(Value(value=0.51234, low=0.5, high=0.53, n=9))
        Cell(text='0.512', interval='0.500 to 0.530', n='n = 9', kind='number', hint='', shade=0.0, span=1)
        >>> figure_cell(Value(value=math.nan, n=0)).text
        'undefined (n = 0)'
    """
    if figure is None:
        return ABSENT
    if math.isnan(figure.value):
        return Cell(
            f"undefined (n = {figure.n})", kind="undefined", hint="nothing to measure: no tile defines this figure"
        )
    return Cell(number(figure.value), interval=interval(figure), n=f"n = {figure.n:,}", kind="number")


def number(value: float) -> str:
    """A figure with a fixed number of decimals; a dash where it is undefined.

    Examples:
        >>> number(0.5), number(float("nan")), number(4681.25)
        ('0.500', '–', '4,681.250')
    """
    return "–" if math.isnan(value) else f"{value:,.{DECIMALS}f}"


def interval(figure: Value) -> str:
    """Ends of the interval; empty where there is none (fewer than two tiles or patients)."""
    if math.isnan(figure.low) or math.isnan(figure.high):
        return ""
    return f"{number(figure.low)} to {number(figure.high)}"


def count_cell(count: int) -> Cell:
    """A count."""
    return Cell(f"{count:,}", kind="number")


def text_table(caption: str, columns: tuple[str, str], items: dict[str, str], *, kind: str = "facts") -> Table:
    """Two columns of text: names and what they are."""
    rows = tuple(Row(name, (Cell(value),)) for name, value in items.items())
    return Table(caption, columns[0], columns[1:], rows, kind=kind)
