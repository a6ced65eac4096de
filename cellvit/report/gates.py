"""The graded rows of summary.csv: figure, limit and grade, and for what did not pass, what to try next."""

from collections.abc import Iterable

from cellvit.config.evaluation import Gate, QualityGates
from cellvit.evaluation.grading import BASELINE_OF, GRADED, LOWER_IS_BETTER, advice, by_remedy
from cellvit.evaluation.summary import Keyed
from cellvit.formats.documents import Value
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.report.cells import ABSENT, Cell, Row, Table, figure_cell
from cellvit.report.wording import GRADES, family_label, metric_of, split_label


def gate_tables(rows: Iterable[SummaryRow], gates: QualityGates) -> tuple[Table, ...]:
    """A table a split: every graded figure beside its limit and its baseline."""
    keyed = by_split_and_family(rows)
    splits = dict.fromkeys(split for split, _ in keyed)
    return tuple(_gate_table(split, keyed, gates) for split in splits)


def gate_counts(rows: Iterable[SummaryRow]) -> dict[str, int]:
    """Number of graded figures by grade, best grade first; means over splits do not count again."""
    grades = [row.gate for row in rows if row.metric in GRADED and row.split != MEAN_SPLIT]
    return {grade: grades.count(grade) for grade in GRADES}


def advice_by_remedy(rows: Iterable[SummaryRow]) -> dict[str, tuple[str, ...]]:
    """What to try, with the figures on a split that did not pass and call for it."""
    return by_remedy(
        (f"{split_label(split)}, {family_label(family)}", one)
        for (split, family), of_family in by_split_and_family(rows).items()
        if split != MEAN_SPLIT
        for one in advice(of_family)
    )


def by_split_and_family(rows: Iterable[SummaryRow]) -> Keyed:
    """Rows by split and family, then by metric."""
    keyed: Keyed = {}
    for row in rows:
        keyed.setdefault((row.split, row.family), {})[row.metric] = row
    return keyed


def _gate_table(split: str, keyed: Keyed, gates: QualityGates) -> Table:
    table_rows: list[Row] = []
    for rows in (rows for (name, _), rows in keyed.items() if name == split):
        graded = [row for row in rows.values() if row.metric in GRADED]
        table_rows += [_gate_row(row, rows, gates, first=not place) for place, row in enumerate(graded)]
    note = "n counts splits, and the range is that of the splits." if split == MEAN_SPLIT else ""
    return Table(
        f"Grades, {split_label(split)}",
        "Family and metric",
        ("Test tiles", "Must beat", "Limit", "Grade"),
        tuple(table_rows),
        note=note,
        kind="results gates",
    )


def _gate_row(row: SummaryRow, rows: dict[str, SummaryRow], gates: QualityGates, *, first: bool) -> Row:
    baseline = rows.get(BASELINE_OF.get(row.metric, ""))
    metric = metric_of(row.metric)
    cells = (
        figure_cell(_figure(row)),
        ABSENT if baseline is None else figure_cell(_figure(baseline)),
        Cell(_limit(row.metric, gates)),
        Cell(row.gate, kind=row.gate),
    )
    return Row(metric.label, cells, note=metric.convention, group=family_label(row.family) if first else "")


def _figure(row: SummaryRow) -> Value:
    return Value(value=row.value, low=row.low, high=row.high, n=row.n)


def _limit(metric: str, gates: QualityGates) -> str:
    """Limits of a gate in words."""
    gate: Gate | None = getattr(gates, metric, None)
    if gate is None:
        return "its baseline"
    side = "under" if metric in LOWER_IS_BETTER else "over"
    middle = "" if gate.partial is None else f"; partial {side} {gate.partial:g}"
    return f"{side} {gate.passes:g}{middle}"
