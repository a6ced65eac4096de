"""Does the run work? Sentences that count, what is absent, and graded values with what to try for those that did not pass."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from cellvit.config.settings import Settings
from cellvit.evaluation.grading import BASELINE_OF, GRADED, LOWER_IS_BETTER, grade_counts, is_of_one
from cellvit.evaluation.summary import Keyed
from cellvit.formats.documents import Value
from cellvit.formats.evaluations import FamilyEvaluation, RoutedEvaluation
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.metrics.intervals import LEVEL, MIN_UNITS, holm, p_value
from cellvit.report.cells import Cell, Row, Table, interval, number, range_cell
from cellvit.report.data import ReportData
from cellvit.report.wording import counted, family_label, metric_of, split_label

_BASELINES = {"classical": "the classical baseline", "shared": "the shared decoder"}
"""Systems that the family decoders are compared with on the same tiles, and their names in sentences."""

_OF_ONE = "not defined with one class (organ)"
"""Limit of a metric that says nothing because there is one class, or one organ, alone."""


def verdict_lines(data: ReportData) -> tuple[str, ...]:
    """Counts of what was evaluated, what beats its baselines and what passed its quality gate."""
    families = [decoder.evaluation for decoder in data.decoders if decoder.evaluation and not decoder.is_shared]
    who = "the decoder" if data.settings.families is None else "the family decoders"
    counts = ", ".join(f"{count} {grade}" for grade, count in grade_counts(data.summary).items() if count)
    return (*_evaluated(data, families), *_compared(families, who), *([f"Graded values: {counts}."] if counts else []))


def absent_lines(data: ReportData) -> tuple[str, ...]:
    """Everything that is absent from the report, with the reason."""
    lines = []
    for decoder in data.decoders:
        document = decoder.evaluation or decoder.header
        if document.status == "absent":
            lines.append(f"split {document.split}, {family_label(document.family)}: {document.reason}")
        if decoder.evaluation:
            where = f"split {document.split}, {family_label(document.family)}"
            lines += _not_scored(where, decoder.evaluation)
    for name, documents in (("OrganHead", data.organ_heads), ("routed evaluation", data.routed)):
        lines += [f"split {document.split}, {name}: {document.reason}" for document in documents if document.reason]
    for routed in data.routed:
        lines += [
            f"split {routed.split}, routed evaluation: {counted(count, 'tile')} left out ({reason})"
            for reason, count in routed.left_out.items()
            if count
        ]
        lines += _not_scored(f"split {routed.split}, routed evaluation", routed)
    lines += [
        f"{organ}: {counted(count, 'tile')} of all folds left out of every decoder (left_out_organs)"
        for organ, count in data.left_out.items()
    ]
    return tuple(lines)


def gate_tables(summary: Keyed, settings: Settings) -> tuple[Table, ...]:
    """A table for each split: every graded value beside its baseline and its limit."""
    return tuple(_gate_table(split, summary, settings) for split in dict.fromkeys(split for split, _ in summary))


def _not_scored(where: str, evaluation: FamilyEvaluation | RoutedEvaluation) -> list[str]:
    n_wholly = evaluation.not_annotated.n_wholly
    return [f"{where}: {counted(n_wholly, 'test tile')} not scored (no pixel is annotated)"] if n_wholly else []


def _evaluated(data: ReportData, families: Sequence[FamilyEvaluation]) -> Iterable[str]:
    absent = sum(one.status == "absent" for one in families)
    splits = counted(len({one.split for one in families}), "split")
    missing = f"; {absent} could not be evaluated (see below)" if absent else ""
    if data.settings.families is None:
        yield f"The decoder was evaluated on unseen test tiles in {len(families) - absent} of {splits}{missing}."
    else:
        yield f"{len(families) - absent} family decoders in {splits} were evaluated on unseen test tiles{missing}."
    accuracies = [(one.split, one.organ_head["accuracy"]) for one in data.routed if "accuracy" in one.organ_head]
    if accuracies:
        shown = ", ".join(f"{_with_interval(value)} in split {split}" for split, value in accuracies)
        yield f"Accuracy of OrganHead on test tiles: {shown}."


def _with_interval(value: Value) -> str:
    ends = interval(value)
    return f"{number(value.value)} ({ends})" if ends else number(value.value)


def _compared(families: Sequence[FamilyEvaluation], who: str) -> Iterable[str]:
    """Comparisons of the decoders (`who`) with each baseline, and which of them are clear after Holm's correction for the number of all."""
    pairs = list(product(_BASELINES.items(), ("aji", "bpq")))
    keys = [f"{metric}_minus_{system}" for (system, _), metric in pairs]
    found = [[one.differences[key] for one in families if key in one.differences] for key in keys]
    values = [value for of_key in found for value in of_key]
    adjusted = iter(holm([p_value(one.value, one.low, one.high, one.units) for one in values]))
    for ((_, name), metric), of_key in zip(pairs, found, strict=True):
        clear = [math.copysign(1, value.value) for value in of_key if next(adjusted) < 1 - LEVEL]
        counts = {"clearly better": clear.count(1), "clearly worse": clear.count(-1)}
        counts["not clear"] = len(of_key) - len(clear)
        outcome = ", ".join(f"{word} in {count} of {len(of_key)}" for word, count in counts.items() if count)
        if of_key:
            yield f"{metric_of(metric).label} of {who} against {name}: {outcome}."
    if values:
        yield (
            f"Clearly: below 5 % after Holm's correction for {counted(len(values), 'comparison')} in the lines above, "
            f"paired by tile; without an interval (fewer than {MIN_UNITS} patients or tiles) nothing is clear."
        )


def _graded(rows: Mapping[str, SummaryRow]) -> list[SummaryRow]:
    return [row for metric, row in rows.items() if metric in GRADED]


def _gate_table(split: str, summary: Keyed, settings: Settings) -> Table:
    table_rows: list[Row] = []
    for (name, family), rows in summary.items():
        for place, row in enumerate(_graded(rows) if name == split else ()):
            group = "" if place else family_label(family)
            metric = metric_of(row.metric)
            baseline = range_cell(rows.get(BASELINE_OF.get(row.metric, "")))
            limit = Cell(_OF_ONE if is_of_one(row.metric, rows) else _limit(row.metric, settings))
            cells = (range_cell(row), baseline, limit, Cell(row.gate, kind=row.gate))
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
