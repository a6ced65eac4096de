"""Does the run work? Sentences that count, what is absent, and graded values with what to try for those that did not pass."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from cellvit.config.settings import Settings
from cellvit.evaluation.grading import BASELINE_OF, GRADED, LOWER_IS_BETTER, grade_counts
from cellvit.evaluation.summary import Keyed
from cellvit.formats.documents import Value
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.report.cells import Cell, Row, Table, interval, number, value_cell, value_of
from cellvit.report.data import ReportData
from cellvit.report.wording import counted, family_label, metric_of, split_label

_BASELINES = {"classical": "the classical baseline", "shared": "the shared decoder"}
"""Systems that the family decoders are compared with on the same tiles, and their names in sentences."""


def verdict_lines(data: ReportData) -> tuple[str, ...]:
    """Counts of what was evaluated, what beats its baselines and what passed its quality gate."""
    families = [decoder.evaluation for decoder in data.decoders if decoder.evaluation and not decoder.is_shared]
    counts = ", ".join(f"{count} {grade}" for grade, count in grade_counts(data.summary).items() if count)
    return (*_evaluated(data, families), *_compared(families), *([f"Graded values: {counts}."] if counts else []))


def absent_lines(data: ReportData) -> tuple[str, ...]:
    """Everything that is absent from the report, with the reason."""
    lines = []
    for decoder in data.decoders:
        document = decoder.evaluation or decoder.header
        if document.status == "absent":
            lines.append(f"split {document.split}, {family_label(document.family)}: {document.reason}")
    for name, documents in (("OrganHead", data.organ_heads), ("routed evaluation", data.routed)):
        lines += [f"split {document.split}, {name}: {document.reason}" for document in documents if document.reason]
    for routed in data.routed:
        lines += [
            f"split {routed.split}, routed evaluation: {counted(count, 'tile')} left out ({reason})"
            for reason, count in routed.left_out.items()
            if count
        ]
    return tuple(lines)


def gate_tables(summary: Keyed, settings: Settings) -> tuple[Table, ...]:
    """A table for each split: every graded value beside its baseline and its limit."""
    return tuple(_gate_table(split, summary, settings) for split in dict.fromkeys(split for split, _ in summary))


def _evaluated(data: ReportData, families: Sequence[FamilyEvaluation]) -> Iterable[str]:
    absent = sum(one.status == "absent" for one in families)
    splits = counted(len({one.split for one in families}), "split")
    missing = f"; {absent} could not be evaluated (see below)" if absent else ""
    yield f"{len(families) - absent} family decoders in {splits} were evaluated on unseen test tiles{missing}."
    accuracies = [(one.split, one.organ_head["accuracy"]) for one in data.routed if "accuracy" in one.organ_head]
    if accuracies:
        shown = ", ".join(f"{_with_interval(value)} in split {split}" for split, value in accuracies)
        yield f"Accuracy of OrganHead on test tiles: {shown}."


def _with_interval(value: Value) -> str:
    ends = interval(value)
    return f"{number(value.value)} ({ends})" if ends else number(value.value)


def _compared(families: Sequence[FamilyEvaluation]) -> Iterable[str]:
    for (system, name), metric in product(_BASELINES.items(), ("aji", "bpq")):
        key = f"{metric}_minus_{system}"
        found = [one.differences[key] for one in families if key in one.differences]
        if found:
            better, worse = sum(value.low > 0 for value in found), sum(value.high < 0 for value in found)
            counts = {"clearly better": better, "clearly worse": worse, "not clear": len(found) - better - worse}
            outcome = ", ".join(f"{word} in {count} of {len(found)}" for word, count in counts.items() if count)
            yield f"{metric_of(metric).label} of the family decoders against {name}: {outcome}."


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
