"""Tables of the values on test tiles: by family, organ and class, beside every baseline."""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from cellvit.evaluation.summary import Keyed
from cellvit.formats.documents import Value, Values
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.metrics.intervals import MIN_UNITS
from cellvit.report.cells import (
    FEW_UNITS,
    NO_SPREAD,
    Cell,
    Row,
    Table,
    absent_row,
    as_range,
    number,
    value_cell,
    value_of,
)
from cellvit.report.charts import HEADLINE
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
from cellvit.taxonomy import ONE_DECODER

Systems = Mapping[str, Values]
Evaluation = FamilyEvaluation | RoutedEvaluation

_ORGAN_METRICS = ("aji", "bpq", "mpq", "dice", "detection_f1")
"""Metrics in the tables of organs; the class PQs of each organ are in evaluation/split*/."""

_BESIDE = ("decoder", "shared", "classical", "upper_bound")
"""Systems in the headline tables; the shared decoder only where there is one."""

_LEAD_OVER = ("classical", "shared")
"""Systems that the decoder is compared with on the same tiles."""

NO_NUCLEI = "undefined (n = 0): no test tile has a nucleus of it, neither in the ground truth nor in any prediction"
"""Replaces the rows of a class or organ of which no value is defined."""

_MIXED = "95 % interval over patients where they are known, else over tiles (see each family below)"
"""Intervals of evaluations that are not all over the same units."""


def small_print(*evaluations: Evaluation | OrganHeadEvaluation) -> str:
    """What the small print after the values of `evaluations` means."""
    labels = {interval_label(one.n_patients, one.n_tiles_without_patient) for one in evaluations}
    shown = labels.pop() if len(labels) == 1 else _MIXED
    return f"Small print: {shown}, and the number of tiles (n) that define the value."


def headline_table(
    evaluations: Sequence[FamilyEvaluation],
    routed: RoutedEvaluation | None,
    split: str,
    summary: Keyed,
) -> Table:
    """AJI, bPQ and mPQ of every family of one split beside the baselines; absent families give the reason.

    Args:
        summary: Rows of summary.csv, which know the spread between trainings with different seeds.
    """
    rows: list[Row] = []
    shown: list[Evaluation] = [one for one in evaluations if one.status == "evaluated"]
    columns = _Columns.of(one.family for one in evaluations)
    for evaluation in evaluations:
        label = family_label(evaluation.family)
        if evaluation.status == "absent":
            rows.append(absent_row(label, evaluation.reason, len(columns.labels)))
        else:
            of_family = summary.get((split, evaluation.family), {})
            rows += _headline_rows(label, evaluation.systems, evaluation.differences, columns, of_family)
    if routed is not None and routed.status == "evaluated":
        label = family_label("organ_predicted")
        rows += _headline_rows(label, as_decoder(routed.systems), routed.differences, columns)
        shown.append(routed)
    note = (
        f"{small_print(*shown)} Lead: difference on the same tiles; green (red) where its interval is above (below) 0, "
        f"each comparison on its own.{_note_on_seeds(summary)}"
    )
    caption = f"Split {split}: test tiles"
    return Table(caption, "Family and metric", columns.labels, tuple(rows), note, "results headline")


def mean_table(summary: Keyed) -> Table:
    """AJI, bPQ and mPQ as means over the splits, as published results are; no rows where there is one split."""
    rows: list[Row] = []
    columns = _Columns.of(family for _, family in summary)
    for (split, family), by_metric in summary.items():
        if split == MEAN_SPLIT:
            values = {metric: value for metric, row in by_metric.items() if (value := value_of(row)) is not None}
            systems: dict[str, Values] = {"decoder": values}
            for system in _BESIDE[1:]:
                keys = {name: _as_in_summary(name, system) for name in HEADLINE}
                systems[system] = {name: values[key] for name, key in keys.items() if key in values}
            names = [name for name in HEADLINE if name in values]
            rows += _headline_rows(family_label(family), systems, values, columns, by_metric, names)
    note = (
        "Small print: lowest and highest split, and the number of splits (n) that define the value. Lead: green (red) "
        f"where it is above (below) 0 in every split.{_note_on_seeds(summary)}"
    )
    caption = "Mean over splits: test tiles"
    ranges = tuple(row._replace(cells=tuple(map(as_range, row.cells))) for row in rows)
    return Table(caption, "Family and metric", columns.labels, ranges, note, "results headline")


def metrics_table(evaluation: Evaluation, caption: str) -> Table:
    """Every metric of all nuclei together, with its convention."""
    names = [name for name in _names(evaluation.systems) if split_class(name, evaluation.dataset) is None]
    return _systems_table(caption, [("", evaluation.systems, names)], evaluation)


def class_table(evaluation: Evaluation, caption: str) -> Table:
    """Every metric of single classes."""
    groups: dict[str, list[str]] = {}
    for name in _names(evaluation.systems):
        parts = split_class(name, evaluation.dataset)
        if parts is not None:
            groups.setdefault(parts[1], []).append(name)
    return _systems_table(caption, [(group, evaluation.systems, names) for group, names in groups.items()], evaluation)


def organ_table(evaluation: Evaluation, caption: str) -> Table:
    """Main metrics of each organ."""
    blocks = [(organ, systems, _ORGAN_METRICS) for organ, systems in evaluation.organs.items()]
    return _systems_table(caption, blocks, evaluation)


def gap_table(evaluation: FamilyEvaluation) -> Table:
    """Values of the maps on training and on test tiles, and the gap between them."""
    sides = (evaluation.train, evaluation.systems.get("decoder", {}), evaluation.gaps)
    rows = tuple(
        Row(metric.label, tuple(value_cell(side.get(name)) for side in sides), note=f"gap: {metric.convention}")
        for name, metric in GAP_METRICS.items()
    )
    note = "A gap above 0 means that the decoder is worse on test tiles than on the tiles that it was trained on."
    return Table("From training to test", "Metric", ("Training tiles", "Test tiles", "Gap"), rows, note)


def values_table(caption: str, values: Values, note: str) -> Table:
    """One value of each metric."""
    metrics = ((metric_of(name), value) for name, value in values.items())
    rows = tuple(Row(metric.label, (value_cell(value),), note=metric.convention) for metric, value in metrics)
    return Table(caption, "Metric", ("Test tiles",), rows, note)


def lead(difference: Value | None) -> Cell:
    """How far the decoder is ahead on the same tiles; clear only where the interval excludes 0."""
    cell = value_cell(difference)
    if difference is None or math.isnan(difference.value):
        return cell
    sign = "+" if difference.value > 0 else ""
    if difference.low > 0 or difference.high < 0:
        kind, hint = "pass" if difference.value > 0 else "fail", "the interval of this difference alone excludes 0"
    elif math.isnan(difference.low):
        kind, hint = "partial", f"not clear: {FEW_UNITS if difference.units < MIN_UNITS else NO_SPREAD}"
    else:
        kind, hint = "partial", "not clear: the interval includes 0"
    return cell._replace(text=sign + cell.text, kind=f"number {kind}", hint=hint)


def as_decoder(systems: Systems) -> dict[str, Values]:
    """Systems of a routed evaluation, with the decoders of the predicted organs in the place of a family's own."""
    return {**systems, "decoder": systems.get("organ_predicted", {})}


class _Columns(NamedTuple):
    """Columns of a headline table: systems, and those that the decoder is compared with."""

    systems: tuple[str, ...]
    lead_over: tuple[str, ...]

    @classmethod
    def of(cls, families: Iterable[str]) -> "_Columns":
        """All columns, without those of the shared decoder where a run has one decoder."""
        left_out = ("shared",) if set(families) == {ONE_DECODER} else ()
        return cls(*(tuple(name for name in names if name not in left_out) for names in (_BESIDE, _LEAD_OVER)))

    @property
    def labels(self) -> tuple[str, ...]:
        """Headings of the columns."""
        leads = (f"Lead over {short_label(name).lower()}" for name in self.lead_over)
        return (*map(short_label, self.systems), *leads)


def _headline_rows(  # six arguments: the values of a row, its columns, and what its small print says
    label: str,
    systems: Systems,
    differences: Values,
    columns: _Columns,
    summary: Mapping[str, SummaryRow] = MappingProxyType({}),
    names: Sequence[str] = HEADLINE,
) -> list[Row]:
    rows = []
    for place, name in enumerate(names):
        cells = [
            _with_seeds(value_cell(systems.get(system, {}).get(name)), summary.get(_as_in_summary(name, system)))
            for system in columns.systems
        ]
        for system in columns.lead_over:
            key = f"{name}_minus_{system}"
            cells.append(_with_seeds(lead(differences.get(key)), summary.get(key)))
        rows.append(Row(metric_of(name).label, tuple(cells), group="" if place else label))
    return rows


def _as_in_summary(name: str, system: str) -> str:
    """Name of a metric of a system in summary.csv, as aji.classical."""
    return name if system == "decoder" else f"{name}.{system}"


def _with_seeds(cell: Cell, row: SummaryRow | None) -> Cell:
    """The cell with the standard deviation over seeds in its small print, where the value differs between them."""
    if row is None or not row.seed_sd > 0:
        return cell
    return cell._replace(n=f"{cell.n}; sd {number(row.seed_sd)}")


def _note_on_seeds(summary: Keyed) -> str:
    """What sd means, where decoders were trained again with further seeds."""
    n = max((row.seeds for rows in summary.values() for row in rows.values()), default=1)
    return f" sd: standard deviation over {n} trainings with different seeds." if n > 1 else ""


def _systems_table(caption: str, blocks: Sequence[tuple[str, Systems, Iterable[str]]], evaluation: Evaluation) -> Table:
    """Rows of metrics, columns of systems, in groups under a heading."""
    columns = in_order({system for _, systems, _ in blocks for system in systems})
    rows: list[Row] = []
    for group, systems, names in blocks:
        known = [name for name in names if any(name in values for values in systems.values())]
        counts = (values[name].n for values in systems.values() for name in known if name in values)
        if group and not any(counts):
            rows.append(Row(group, (Cell(NO_NUCLEI, kind="undefined reason", span=len(columns)),)))
            continue
        for place, name in enumerate(known):
            parts = split_class(name, evaluation.dataset)
            metric = class_metric(parts[0]) if parts and group else metric_of(name)
            cells = tuple(value_cell(systems.get(system, {}).get(name)) for system in columns)
            rows.append(Row(metric.label, cells, note=metric.convention, group="" if place else group))
    return Table(
        caption, "Metric", tuple(map(system_label, columns)), tuple(rows), small_print(evaluation), "results systems"
    )


def _names(systems: Systems) -> tuple[str, ...]:
    """Names of all metrics, in the order of the documents."""
    return tuple(dict.fromkeys(name for values in systems.values() for name in values))
