"""Evaluations -> graded rows of summary.csv."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from cellvit.config.evaluation import QualityGates
from cellvit.evaluation.grading import GATED, graded
from cellvit.formats.documents import Value, Values
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.metrics.ratio import mean_defined

ROUTED: Final = "routed"
"""Family of rows on all test tiles, organ predicted."""

KNOWN_ORGAN: Final = "known_organ"
"""Family of rows on all test tiles, organ given."""

ORGAN_HEAD: Final = "organ_head"
"""Family of rows on OrganHead."""

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
) -> Keyed:
    """Graded rows of every evaluation, with means over splits last where there are two splits or more.

    OrganHead's figures are those of its own evaluation; routing_accuracy is that of the routed one.
    """
    keyed: Keyed = {}
    for evaluation in families:
        keyed[evaluation.split, evaluation.family] = _rows_of_family(evaluation)
    for overall in routed:
        for family, figures in _figures_of_routed(overall).items():
            keyed[overall.split, family] = _rows(overall.split, family, figures)
    for head in organ_heads:
        named = {_ORGAN_METRICS.get(name, name): figure for name, figure in _figures_of_head(head).items()}
        keyed.setdefault((head.split, ORGAN_HEAD), {}).update(_rows(head.split, ORGAN_HEAD, named))
    keyed |= _means(keyed)
    return {key: graded(rows, gates) for key, rows in keyed.items()}


def _rows_of_family(evaluation: FamilyEvaluation) -> dict[str, SummaryRow]:
    if evaluation.status == "absent":  # shown as undefined, so that a family never goes missing in silence
        undefined = {metric: Value(value=math.nan, n=0) for metric in GATED if metric != "organ_accuracy"}
        return _rows(evaluation.split, evaluation.family, undefined)
    figures = _by_system(evaluation.systems, "decoder")
    figures |= {f"{name}.train": figure for name, figure in evaluation.train.items()}
    figures |= {f"gap_{name}": figure for name, figure in evaluation.gaps.items()}
    return _rows(evaluation.split, evaluation.family, figures | evaluation.differences)


def _figures_of_routed(overall: RoutedEvaluation) -> dict[str, Values]:
    if overall.status == "absent":
        return {ROUTED: {"aji": Value(value=math.nan, n=0)}}
    others = {name: figures for name, figures in overall.systems.items() if name not in ("routed", "known")}
    routed = _by_system({**others, "routed": overall.systems["routed"]}, "routed") | overall.differences
    found = {ROUTED: routed}
    if "known" in overall.systems:
        found[KNOWN_ORGAN] = _by_system({**others, "known": overall.systems["known"]}, "known")
    if "routing_accuracy" in overall.organ_head:
        found[ORGAN_HEAD] = {"routing_accuracy": overall.organ_head["routing_accuracy"]}
    return found


def _figures_of_head(head: OrganHeadEvaluation) -> Values:
    return head.figures if head.status == "evaluated" else {"accuracy": Value(value=math.nan, n=0)}


def _by_system(systems: Mapping[str, Values], own: str) -> Values:
    """Values of all systems under one name each; those of `own` keep their names and come first."""
    ordered = sorted(systems, key=lambda system: system != own)
    return {
        name if system == own else f"{name}.{system}": figure
        for system in ordered
        for name, figure in systems[system].items()
    }


def _rows(split: str, family: str, figures: Values) -> dict[str, SummaryRow]:
    return {
        metric: SummaryRow(split, family, metric, figure.value, figure.low, figure.high, figure.n)
        for metric, figure in figures.items()
    }


def _means(keyed: Keyed) -> Keyed:
    """Means over splits of every metric of every family; none where there is one split."""
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
    """Mean over the splits on which the metric is defined, with the least and the greatest of them."""
    defined = np.array([value for value in values if not math.isnan(value)])
    low, high = (float(defined.min()), float(defined.max())) if defined.size else (math.nan, math.nan)
    return SummaryRow(MEAN_SPLIT, family, metric, mean_defined(defined), low, high, defined.size)
