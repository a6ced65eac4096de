"""Comparison of two runs -> one HTML page that opens offline."""

from collections.abc import Sequence
from itertools import groupby

from cellvit.evaluation.comparison import Comparison
from cellvit.evaluation.comparison_text import judgement
from cellvit.formats.comparison import ComparedRow
from cellvit.formats.documents import Value
from cellvit.report.cells import Cell, Row, Table, count_cell, number, number_cell, value_cell
from cellvit.report.templates import rendered
from cellvit.report.wording import decoder_label, metric_of, system_label

_COLUMNS = ("A", "B", "B - A", "Patients or tiles", "Result")


def render_comparison(comparison: Comparison, runs: tuple[str, str], marks: Sequence[str]) -> str:
    """The page; the same comparison gives the same bytes.

    Args:
        runs: Names of A and B.
        marks: What must be shown with every value, such as simulated data.
    """
    by_decoder = groupby(comparison.rows, key=lambda row: decoder_label(row.split, row.family))
    return rendered(
        "comparison.html.j2",
        marks=marks,
        runs=runs,
        judgement=list(judgement(comparison)),
        notes=comparison.notes,
        settings=_settings_table(comparison),
        tables=[_table(caption, list(rows)) for caption, rows in by_decoder],
    )


def _settings_table(comparison: Comparison) -> Table:
    rows = [Row(key, (Cell(a), Cell(b))) for key, (a, b) in comparison.settings.items()]
    rows = rows or [Row("none", (Cell("no setting differs", span=2),))]
    return Table("Settings that differ", "Key", ("A", "B"), tuple(rows), kind="facts keys")


def _table(caption: str, rows: Sequence[ComparedRow]) -> Table:
    by_system = groupby(rows, key=lambda row: row.system)
    shown = [_row(row, "" if place else system_label(name)) for name, of in by_system for place, row in enumerate(of)]
    return Table(caption, "Metric", _COLUMNS, tuple(shown))


def _row(row: ComparedRow, group: str) -> Row:
    metric = metric_of(row.metric)
    difference = Value(value=row.difference, low=row.low, high=row.high, n=row.n)
    values = (number_cell(number(row.a)), number_cell(number(row.b)), value_cell(difference))
    cells = (*values, count_cell(row.units), Cell(row.outcome))
    return Row(metric.label, cells, note=metric.convention, group=group)
