"""Values -> grades, and what to try where a grade is not a pass."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from cellvit.config.evaluation import Gate, QualityGates
from cellvit.formats.summary import MEAN_SPLIT, Grade, SummaryRow

LOWER_IS_BETTER: Final = frozenset({"hv_mse", "gap_np_dice", "gap_hv_mse", "gap_nt_accuracy"})
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

GATED: Final = tuple(QualityGates.model_fields)
"""Metrics with a quality gate in the settings."""

GRADED: Final = (*GATED, *(metric for metric in BASELINE_OF if metric not in GATED))
"""Metrics that are graded, by a quality gate or by their baseline alone."""

GRADES: Final[tuple[Grade, ...]] = ("pass", "partial", "fail", "undefined")
"""Grades of a value, best first."""

_OVERFITS: Final = (
    "the decoder overfits: augment (training.augment), fewer steps (training.steps), more decoder.dropout"
)

_ADVICE: Final = MappingProxyType(
    {
        "organ_accuracy": "train OrganHead longer (organ_head.epochs) and check that its folds contain every organ",
        "hv_length": "HV vectors are too short: raise the magnitude weight (training.loss.hv_magnitude_weight)",
        "hv_mse": "raise the weight of HV (training.loss.hv_weight) or train longer (training.steps)",
        "hv_skill": "raise the weight of HV (training.loss.hv_weight) or train longer (training.steps)",
        "np_dice": "lower the magnitude weight (training.loss.hv_magnitude_weight) or raise that of NP (training.loss.np_weight)",
        "nt_accuracy": "raise the weight of NT (training.loss.nt_weight) and look at the classes in the report",
        "aji": "train longer (training.steps) or give the decoder the image (decoder.image_stem: rgb)",
        "bpq": "train longer (training.steps) or give the decoder the image (decoder.image_stem: rgb)",
        "gap_np_dice": _OVERFITS,
        "gap_hv_mse": _OVERFITS,
        "gap_nt_accuracy": _OVERFITS,
    }
)
"""What to try first, by metric."""

_TUNE: Final = "HV is strong but nuclei are not separated well: tune the watershed (widen the lists of watershed)"


def graded(rows: Mapping[str, SummaryRow], gates: QualityGates) -> dict[str, SummaryRow]:
    """Rows of one split and family by metric, each with its grade."""
    return {metric: row._replace(gate=grade_of(metric, rows, gates)) for metric, row in rows.items()}


def grade_of(metric: str, rows: Mapping[str, SummaryRow], gates: QualityGates) -> Grade:
    """Grade of a metric: fail if it is not better than its baseline, else by its gate; a value at the limit fails.

    A metric without a gate passes if it is better than its baseline; one with neither is not graded.
    """
    value = rows[metric].value
    if math.isnan(value):
        return "undefined"
    if metric not in GRADED:
        return ""
    if not beats_baseline(metric, rows):
        return "fail"
    gate: Gate | None = getattr(gates, metric, None)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    if gate is None or sign * value > sign * gate.passes:
        return "pass"
    return "partial" if gate.partial is not None and sign * value > sign * gate.partial else "fail"


def beats_baseline(metric: str, rows: Mapping[str, SummaryRow]) -> bool:
    """False if the baseline has a defined value that is as good or better."""
    baseline = rows.get(BASELINE_OF.get(metric, ""))
    if baseline is None or math.isnan(baseline.value):
        return True
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return sign * rows[metric].value > sign * baseline.value


class Advice(NamedTuple):
    """What to try for a metric that did not pass.

    Attributes:
        result: Metric, value and grade, and the baseline if that is as good or better.
        fix: What to try first.
    """

    result: str
    fix: str


def advice(rows: Mapping[str, SummaryRow]) -> tuple[Advice, ...]:
    """Advice for each metric of a split and family that did not pass."""
    advised = []
    for metric in GRADED:
        row = rows.get(metric)
        if row is None or row.gate not in ("partial", "fail"):
            continue
        baseline = BASELINE_OF[metric] if not beats_baseline(metric, rows) else ""
        lost = f" (not better than {baseline}, {rows[baseline].value:.3f})" if baseline else ""
        strong = "hv_length" in rows and rows["hv_length"].gate == "pass"
        fix = _TUNE if metric == "aji" and row.gate == "fail" and strong else _ADVICE[metric]
        advised.append(Advice(f"{metric} {row.value:.3f} {row.gate}{lost}", fix))
    return tuple(advised)


def advice_by_fix(
    keyed: Mapping[tuple[str, str], Mapping[str, SummaryRow]], label: Callable[[str], str] = str
) -> dict[str, tuple[str, ...]]:
    """What to try, each with the results that it may help; the fix with most results first.

    Args:
        keyed: Graded rows by split and family; means over splits are left out, as their advice is that of the splits.
        label: Name of a family as it is shown.
    """
    grouped: dict[str, list[str]] = {}
    for (split, family), rows in keyed.items():
        for one in advice(rows) if split != MEAN_SPLIT else ():
            grouped.setdefault(one.fix, []).append(f"split {split}, {label(family)}: {one.result}")
    ordered = sorted(grouped, key=lambda fix: -len(grouped[fix]))
    return {fix: tuple(grouped[fix]) for fix in ordered}


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
