"""Graded rows of summary.csv: value, limit and grade, and what to try where the grade is not a pass."""

from collections.abc import Mapping

from cellvit.config.settings import Settings
from cellvit.evaluation.grading import BASELINE_OF, GRADED, LOWER_IS_BETTER, advice, by_remedy
from cellvit.evaluation.summary import Keyed
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.report.cells import Cell, Row, Table, value_cell, value_of
from cellvit.report.wording import GRADES, family_label, metric_of, split_label


def gate_tables(summary: Keyed, settings: Settings) -> tuple[Table, ...]:
    """A table for each split: every graded value beside its baseline and its limit."""
    return tuple(_gate_table(split, summary, settings) for split in dict.fromkeys(split for split, _ in summary))


def gate_counts(summary: Keyed) -> dict[str, int]:
    """Number of graded values by grade, best grade first; means over splits do not count again."""
    grades = [row.gate for (split, _), rows in summary.items() if split != MEAN_SPLIT for row in _graded(rows)]
    return {grade: grades.count(grade) for grade in GRADES}


def advice_by_fix(summary: Keyed) -> dict[str, tuple[str, ...]]:
    """What to try, each with its causes: the values on a split that did not pass."""
    return by_remedy(
        (f"{split_label(split)}, {family_label(family)}", one)
        for (split, family), rows in summary.items()
        if split != MEAN_SPLIT
        for one in advice(rows)
    )


def _graded(rows: Mapping[str, SummaryRow]) -> list[SummaryRow]:
    return [row for metric, row in rows.items() if metric in GRADED]


def _gate_table(split: str, summary: Keyed, settings: Settings) -> Table:
    table_rows: list[Row] = []
    for (name, family), rows in summary.items():
        for place, row in enumerate(_graded(rows) if name == split else ()):
            group = "" if place else family_label(family)
            metric = metric_of(row.metric)
            baseline = value_cell(value_of(rows.get(BASELINE_OF.get(row.metric, ""))))
            limit = Cell(_limit(row.metric, settings))
            cells = (value_cell(value_of(row)), baseline, limit, Cell(row.gate, kind=row.gate))
            table_rows.append(Row(metric.label, cells, note=metric.convention, group=group))
    note = "n counts splits, and the range is that of the splits." if split == MEAN_SPLIT else ""
    columns = ("Test tiles", "Must beat", "Limit", "Grade")
    caption = f"Grades, {split_label(split)}"
    return Table(caption, "Family and metric", columns, tuple(table_rows), note, "results gates")


def _limit(metric: str, settings: Settings) -> str:
    """Limits of a quality gate in words."""
    gate = getattr(settings.gates.quality, metric, None)
    if gate is None:
        return "its baseline"
    side = "below" if metric in LOWER_IS_BETTER else "above"
    return f"{side} {gate.passes:g}" + ("" if gate.partial is None else f"; partial {side} {gate.partial:g}")
