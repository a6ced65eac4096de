"""Tables of what was measured on test tiles: by family, organ and class, beside every baseline."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from cellvit.formats.documents import Value, Values
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.report.cells import Cell, Row, Table, figure_cell
from cellvit.report.comparison import HEADLINE
from cellvit.report.wording import (
    GAP_METRICS,
    class_metric,
    family_label,
    in_order,
    interval_label,
    metric_of,
    short_label,
    split_class,
    system_label,
)

Systems = Mapping[str, Values]
Evaluation = FamilyEvaluation | RoutedEvaluation

_ORGAN_METRICS = ("aji", "bpq", "mpq", "dice", "detection_f1")
"""What the tables of organs hold; the class PQs of each organ are in evaluation/split*/."""

_BESIDE = ("decoder", "pooled", "classical", "oracle")
"""Systems of the first table."""

_AHEAD_OF = ("classical", "pooled")
"""Systems that the decoder is compared with on the same tiles."""

NO_NUCLEI = "undefined (n = 0): neither the truth nor any system has a nucleus of it on test tiles"
"""Stands for the rows of a class or organ of which no figure is defined."""

_SEVERAL = "95 % bootstrap interval over patients where they are known, else over tiles (each says which below)"
"""Intervals of evaluations that do not draw alike."""


def small_print(*evaluations: Evaluation | OrganHeadEvaluation) -> str:
    """What stands in small print behind the figures of `evaluations`."""
    labels = {interval_label(one.n_patients, one.n_tiles_without_patient) for one in evaluations}
    shown = labels.pop() if len(labels) == 1 else _SEVERAL
    return f"Small print: {shown}, and the number of tiles (n) that define the figure."


def headline_table(evaluations: Sequence[FamilyEvaluation], routed: RoutedEvaluation | None, split: str) -> Table:
    """AJI, bPQ and mPQ of every family of one split beside the baselines; absent families say why."""
    rows: list[Row] = []
    drawn: list[Evaluation] = [evaluation for evaluation in evaluations if evaluation.status == "evaluated"]
    for evaluation in evaluations:
        label = family_label(evaluation.family)
        if evaluation.status == "absent":
            rows.append(absent_row(label, evaluation.reason, len(_BESIDE) + len(_AHEAD_OF)))
        else:
            rows.extend(_headline_rows(label, evaluation.systems, evaluation.differences))
    if routed is not None and routed.status == "evaluated":
        systems = as_decoder(routed.systems)
        rows.extend(_headline_rows("all test tiles, organ predicted", systems, routed.differences))
        drawn.append(routed)
    return Table(
        f"Split {split}: test tiles",
        "Family and metric",
        _headline_columns(),
        tuple(rows),
        note=f"{small_print(*drawn)} Lead: difference on the same tiles; green (red) where its interval lies over (under) 0.",
        kind="results headline",
    )


def metrics_table(evaluation: Evaluation, caption: str) -> Table:
    """Every figure of all nuclei together, with its convention."""
    names = [name for name in _names(evaluation.systems) if split_class(name) is None]
    return _systems_table(caption, [("", evaluation.systems, names)], small_print(evaluation))


def class_table(evaluation: Evaluation, caption: str) -> Table:
    """Every figure of single classes."""
    groups: dict[str, list[str]] = {}
    for name in _names(evaluation.systems):
        parts = split_class(name)
        if parts is not None:
            groups.setdefault(parts[1], []).append(name)
    blocks = [(group, evaluation.systems, names) for group, names in groups.items()]
    return _systems_table(caption, blocks, small_print(evaluation))


def organ_table(evaluation: Evaluation, caption: str) -> Table:
    """Headline figures of each organ."""
    blocks = [(organ, systems, _ORGAN_METRICS) for organ, systems in evaluation.organs.items()]
    return _systems_table(caption, blocks, small_print(evaluation))


def gap_table(evaluation: FamilyEvaluation) -> Table:
    """Values of the maps on training and on test tiles, and the gap between them."""
    test = evaluation.systems.get("decoder", {})
    rows = tuple(
        Row(
            metric.label,
            tuple(figure_cell(figures.get(name)) for figures in (evaluation.train, test, evaluation.gaps)),
            note=f"gap: {metric.convention}",
        )
        for name, metric in GAP_METRICS.items()
    )
    return Table(
        "From training to test",
        "Metric",
        ("Training tiles", "Test tiles", "Gap"),
        rows,
        note="A gap over 0 means that test tiles are worse than those that the decoder learned from.",
        kind="results",
    )


def lead(difference: Value | None) -> Cell:
    """How far the decoder is ahead on the same tiles; clearly only where the interval leaves 0 out."""
    cell = figure_cell(difference)
    if difference is None or math.isnan(difference.value):
        return cell
    clear = difference.low > 0 or difference.high < 0
    kind = ("pass" if difference.value > 0 else "fail") if clear else "partial"
    sign = "+" if difference.value > 0 else ""
    unclear = "no interval: fewer than two tiles or patients" if math.isnan(difference.low) else "the interval holds 0"
    hint = "the interval of the paired difference leaves 0 out" if clear else f"not clearly: {unclear}"
    return dataclasses.replace(cell, text=sign + cell.text, kind=f"number {kind}", hint=hint)


def as_decoder(systems: Systems) -> dict[str, Values]:
    """Systems of a routed evaluation with the routed decoders in the place of a family's own."""
    return {**systems, "decoder": systems.get("routed", {})}


def absent_row(heading: str, reason: str, n_columns: int) -> Row:
    """A row that says why there are no figures."""
    return Row(heading, (Cell(f"absent: {reason}", kind="reason", span=n_columns),))


def mean_table(rows: Iterable[SummaryRow]) -> Table:
    """AJI, bPQ and mPQ as means over the splits, as published results are; no rows where there is one split."""
    keyed: dict[str, dict[str, SummaryRow]] = {}
    for row in rows:
        if row.split == MEAN_SPLIT:
            keyed.setdefault(row.family, {})[row.metric] = row
    table_rows = []
    for family, found in keyed.items():
        for place, name in enumerate(name for name in HEADLINE if name in found):
            wanted = (name, *(f"{name}.{system}" for system in _BESIDE[1:]))
            leads = tuple(lead(_figure(found.get(f"{name}_minus_{system}"))) for system in _AHEAD_OF)
            cells = tuple(figure_cell(_figure(found.get(metric))) for metric in wanted)
            table_rows.append(Row(metric_of(name).label, cells + leads, group="" if place else family_label(family)))
    return Table(
        "Mean over splits: test tiles",
        "Family and metric",
        _headline_columns(),
        tuple(table_rows),
        note="Small print: least and greatest split, and the number of splits (n) that define the figure. Lead: green "
        "(red) where it is over (under) 0 in every split.",
        kind="results headline",
    )


def _headline_columns() -> tuple[str, ...]:
    return (*map(short_label, _BESIDE), *(f"Lead over {short_label(system).lower()}" for system in _AHEAD_OF))


def _figure(row: SummaryRow | None) -> Value | None:
    return None if row is None else Value(value=row.value, low=row.low, high=row.high, n=row.n)


def _headline_rows(label: str, systems: Systems, differences: Values) -> list[Row]:
    rows = []
    for place, name in enumerate(HEADLINE):
        figures = tuple(figure_cell(systems.get(system, {}).get(name)) for system in _BESIDE)
        leads = tuple(lead(differences.get(f"{name}_minus_{system}")) for system in _AHEAD_OF)
        rows.append(Row(metric_of(name).label, figures + leads, group="" if place else label))
    return rows


def _systems_table(caption: str, groups: Iterable[tuple[str, Systems, Iterable[str]]], note: str) -> Table:
    blocks = [(group, systems, tuple(names)) for group, systems, names in groups]
    columns = in_order({system for _, systems, _ in blocks for system in systems})
    rows: list[Row] = []
    for group, systems, names in blocks:
        known = [name for name in names if any(name in figures for figures in systems.values())]
        if group and all(_nothing(systems, name) for name in known):
            rows.append(Row(group, (Cell(NO_NUCLEI, kind="undefined reason", span=len(columns)),)))
            continue
        for place, name in enumerate(known):
            rows.append(_metric_row(name, systems, columns, "" if place else group, in_group=bool(group)))
    return Table(caption, "Metric", tuple(map(system_label, columns)), tuple(rows), note=note, kind="results systems")


def _metric_row(name: str, systems: Systems, columns: tuple[str, ...], group: str, *, in_group: bool) -> Row:
    parts = split_class(name)
    metric = class_metric(parts[0]) if parts and in_group else metric_of(name)
    cells = tuple(figure_cell(systems.get(system, {}).get(name)) for system in columns)
    return Row(metric.label, cells, note=metric.convention, group=group)


def _nothing(systems: Systems, name: str) -> bool:
    """True where no tile defines the metric for any system."""
    return all(name not in figures or figures[name].n == 0 for figures in systems.values())


def _names(systems: Systems) -> tuple[str, ...]:
    """Names of all metrics, in the order in which the documents have them."""
    return tuple(dict.fromkeys(name for figures in systems.values() for name in figures))
