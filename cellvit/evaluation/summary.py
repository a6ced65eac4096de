"""Evaluations -> graded rows of summary.csv."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from cellvit.config.evaluation import QualityGates
from cellvit.evaluation.grading import GATED, graded
from cellvit.formats.documents import Value, Values
from cellvit.formats.evaluations import (
    ORGAN_GIVEN,
    ORGAN_PREDICTED,
    FamilyEvaluation,
    OrganHeadEvaluation,
    RoutedEvaluation,
    SourceValues,
)
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.metrics.ratio import mean_defined
from cellvit.taxonomy import ONE_DECODER, SHARED_FAMILY, base_family

ORGAN_HEAD: Final = "organ_head"
"""Family of the rows of OrganHead."""

_ORGAN_METRICS: Final = {
    "accuracy": "organ_accuracy",
    "accuracy_majority": "organ_accuracy.trivial",
    "balanced_accuracy": "organ_balanced_accuracy",
    "calibration_error": "organ_calibration_error",
}

Keyed = dict[tuple[str, str], dict[str, SummaryRow]]
"""Rows by split and family, then by metric."""


def summary_rows(
    families: Iterable[FamilyEvaluation],
    routed: Iterable[RoutedEvaluation],
    organ_heads: Iterable[OrganHeadEvaluation],
    gates: QualityGates,
    repeats: Iterable[FamilyEvaluation] = (),
) -> Keyed:
    """Graded rows of every evaluation, with means over splits last if there are two splits or more.

    The values of OrganHead are those of its own evaluation; routing_accuracy is that of the routed one.

    Args:
        repeats: Evaluations of the decoders that were trained again with further seeds; they give the spread of the rows.
    """
    keyed: Keyed = {(one.split, one.family): _rows_of_family(one) for one in families}
    for overall in routed:
        for family, values in _values_of_routed(overall).items():
            keyed[overall.split, family] = _rows(overall.split, family, values)
    for head in organ_heads:
        values = head.values if head.status == "evaluated" else {"accuracy": Value(value=math.nan, n=0)}
        named = {_ORGAN_METRICS.get(name, name): value for name, value in values.items()}
        keyed.setdefault((head.split, ORGAN_HEAD), {}).update(_rows(head.split, ORGAN_HEAD, named))
    keyed |= _means(keyed)
    _add_spread(keyed, repeats)
    return {key: graded(rows, gates) for key, rows in keyed.items()}


def with_plain_name(keyed: Keyed) -> Keyed:
    """The rows as a user reads them: where the decoder for all organs is the only one, it is called the decoder."""
    if {family for _, family in keyed} != {SHARED_FAMILY}:
        return keyed
    return {
        (split, ONE_DECODER): {name: row._replace(family=ONE_DECODER) for name, row in rows.items()}
        for (split, _), rows in keyed.items()
    }


def _add_spread(keyed: Keyed, repeats: Iterable[FamilyEvaluation]) -> None:
    """Add to the rows of `keyed` how the values differ between trainings with different seeds."""
    by_seed: dict[str, Keyed] = {}
    for one in repeats:
        family = base_family(one.family)
        by_seed.setdefault(one.family.removeprefix(family), {})[one.split, family] = _rows_of_family(one)
    others = [rows | _means(rows) for rows in by_seed.values()]
    for key in {key for rows in others for key in rows}:
        for metric, row in keyed[key].items():
            found = [row, *(rows[key][metric] for rows in others if metric in rows.get(key, {}))]
            values = np.array([one.value for one in found if not math.isnan(one.value)])
            sd = float(values.std(ddof=1)) if values.size > 1 else math.nan
            keyed[key][metric] = row._replace(seeds=values.size, seed_sd=sd)


def _rows_of_family(evaluation: FamilyEvaluation) -> dict[str, SummaryRow]:
    if evaluation.status == "absent":  # undefined rows, so that no family is missing without notice
        undefined = {metric: Value(value=math.nan, n=0) for metric in GATED if metric != "organ_accuracy"}
        return _rows(evaluation.split, evaluation.family, undefined)
    values = _by_system(evaluation.systems, "decoder")
    values |= {f"{name}.train": value for name, value in evaluation.train.items()}
    values |= {f"gap_{name}": value for name, value in evaluation.gaps.items()}
    values |= evaluation.differences | _by_source(evaluation.sources)
    return _rows(evaluation.split, evaluation.family, values)


def _values_of_routed(overall: RoutedEvaluation) -> dict[str, Values]:
    if overall.status == "absent":
        return {ORGAN_PREDICTED: {"aji": Value(value=math.nan, n=0)}}
    both = (ORGAN_PREDICTED, ORGAN_GIVEN)
    others = {name: values for name, values in overall.systems.items() if name not in both}
    found = {name: _by_system(others | {name: overall.systems[name]}, name) for name in both if name in overall.systems}
    found[ORGAN_PREDICTED] |= overall.differences
    if "routing_accuracy" in overall.organ_head:
        found[ORGAN_HEAD] = {"routing_accuracy": overall.organ_head["routing_accuracy"]}
    return found


def _by_system(systems: Mapping[str, Values], own: str) -> Values:
    """Values of all systems in one mapping; those of `own` have plain names and come first."""
    ordered = sorted(systems, key=lambda system: system != own)
    return {
        name if system == own else f"{name}.{system}": value
        for system in ordered
        for name, value in systems[system].items()
    }


def _by_source(sources: Mapping[str, SourceValues]) -> Values:
    """Values by source, as ``aji[CoNSeP seen]`` and ``aji.shared[MoNuSeg unseen]``, and gaps, as ``source_gap_aji``."""
    found: Values = {}
    for system, of_system in sources.items():
        suffix = "" if system == "decoder" else f".{system}"
        for source, values in of_system.values.items():
            place = f"{suffix}[{source} {of_system.trained_on[source]}]"
            found |= {f"{name}{place}": value for name, value in values.items()}
        found |= {f"source_gap_{name}{suffix}": value for name, value in of_system.gaps.items()}
    return found


def _rows(split: str, family: str, values: Values) -> dict[str, SummaryRow]:
    return {
        metric: SummaryRow(
            split, family, metric, value.value, value.low, value.high, math.nan, math.nan, value.n, value.units
        )
        for metric, value in values.items()
    }


def _means(keyed: Keyed) -> Keyed:
    """Means over splits of every metric of every family; none if there is one split."""
    if len({split for split, _ in keyed}) < 2:
        return {}
    found: Keyed = {}
    for family in dict.fromkeys(family for _, family in keyed):
        by_split = [rows for (_, name), rows in keyed.items() if name == family]
        metrics = dict.fromkeys(metric for rows in by_split for metric in rows)
        found[MEAN_SPLIT, family] = {
            metric: _mean(family, metric, [rows[metric].value for rows in by_split if metric in rows])
            for metric in metrics
        }
    return found


def _mean(family: str, metric: str, values: Sequence[float]) -> SummaryRow:
    """Mean over the splits on which the metric is defined, with the smallest and the largest of them if there are two or more."""
    defined = np.array([value for value in values if not math.isnan(value)])
    ends = (float(defined.min()), float(defined.max())) if defined.size > 1 else (math.nan, math.nan)
    return SummaryRow(MEAN_SPLIT, family, metric, mean_defined(defined), math.nan, math.nan, *ends, defined.size, 0)
