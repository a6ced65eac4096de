"""Values -> grades, by their baselines and quality gates (what to try: `cellvit.evaluation.advice`)."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cellvit.config.evaluation import WORST_AND_BEST, Gate, QualityGates
from cellvit.formats.summary import MEAN_SPLIT, Grade, SummaryRow

LOWER_IS_BETTER: Final = frozenset(metric for metric, (worst, best) in WORST_AND_BEST.items() if best < worst)
"""Errors and gaps; for all other metrics, higher is better."""

BASELINE_OF: Final = MappingProxyType(
    {
        "np_dice": "np_dice.trivial",
        "hv_mse": "hv_mse.trivial",
        "nt_accuracy": "nt_accuracy.trivial",
        "aji": "aji.classical",
        "bpq": "bpq.classical",
        "organ_accuracy": "organ_accuracy.trivial",
    }
)
"""Row that a value must be better than: all foreground, HV of zero, majority class, the classical segmentation."""

_OF_ONE: Final = MappingProxyType(
    {
        "nt_accuracy": "nt_accuracy.trivial",
        "gap_nt_accuracy": "nt_accuracy.trivial",
        "organ_accuracy": "organ_accuracy.trivial",
    }
)
"""Metrics that say nothing where this baseline is always right, because there is one class or one organ alone."""

WORST_GAP_BELOW: Final = -0.25
"""Gap below which a gate does not pass either (decision): where the decoder is so much worse on the tiles that it was trained on
than on others, it has not learned them, or the folds cannot be compared."""

GATED: Final = tuple(QualityGates.model_fields)
"""Metrics with a quality gate in the settings."""

GRADED: Final = (*GATED, *(metric for metric in BASELINE_OF if metric not in GATED))
"""Metrics that are graded, by a quality gate or by their baseline alone."""

GRADES: Final[tuple[Grade, ...]] = ("pass", "partial", "fail", "undefined")
"""Grades of a value, best first."""


def graded(rows: Mapping[str, SummaryRow], gates: QualityGates) -> dict[str, SummaryRow]:
    """Rows of one split and family by metric, each with its grade."""
    return {metric: row._replace(gate=grade_of(metric, rows, gates)) for metric, row in rows.items()}


def grade_of(metric: str, rows: Mapping[str, SummaryRow], gates: QualityGates) -> Grade:
    """Grade of a metric: fail if it is not better than its baseline, else by its gate; a value at the limit fails.

    A metric without a gate passes if it is better than its baseline; one with neither is not graded. Nor is the accuracy
    of classes or organs where there is one of them alone. A gap fails too if the training tiles are far worse than the test tiles.
    """
    value = rows[metric].value
    if math.isnan(value):
        return "undefined"
    if metric not in GRADED or is_of_one(metric, rows):
        return ""
    if not beats_baseline(metric, rows) or is_reversed_gap(metric, rows):
        return "fail"
    gate: Gate | None = getattr(gates, metric, None)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    if gate is None or sign * value > sign * gate.passes:
        return "pass"
    return "partial" if gate.partial is not None and sign * value > sign * gate.partial else "fail"


def is_of_one(metric: str, rows: Mapping[str, SummaryRow]) -> bool:
    """Whether a metric says nothing, because one class (or organ) is right everywhere: no value could be better."""
    baseline = rows.get(_OF_ONE.get(metric, ""))
    return baseline is not None and baseline.value >= 1


def is_reversed_gap(metric: str, rows: Mapping[str, SummaryRow]) -> bool:
    """Whether a metric is a gap, and far below 0: the decoder is worse on its training tiles than on test tiles."""
    return metric.startswith("gap_") and rows[metric].value < WORST_GAP_BELOW


def beats_baseline(metric: str, rows: Mapping[str, SummaryRow]) -> bool:
    """False if the baseline has a defined value that is as good or better."""
    baseline = rows.get(BASELINE_OF.get(metric, ""))
    if baseline is None or math.isnan(baseline.value):
        return True
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return sign * rows[metric].value > sign * baseline.value


def grade_counts(keyed: Mapping[tuple[str, str], Mapping[str, SummaryRow]]) -> dict[Grade, int]:
    """Number of graded values by grade, best grade first; means over splits do not count again."""
    grades = [
        row.gate
        for (split, _), rows in keyed.items()
        if split != MEAN_SPLIT
        for metric, row in rows.items()
        if metric in GRADED
    ]
    return {grade: grades.count(grade) for grade in GRADES}
