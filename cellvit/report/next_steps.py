"""What to do next: the conclusions of a run, in the order in which they are worth a reader's time."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from cellvit.evaluation.advice import advice_by_fix
from cellvit.evaluation.grading import grade_counts
from cellvit.metrics.intervals import MIN_UNITS
from cellvit.report import decoders
from cellvit.report.data import ReportData
from cellvit.report.wording import counted, family_label

_MOST_FIXES: Final = 4
"""Number of fixes that are shown, beginning with those that concern most results (decision)."""

_MOST_CAUSES: Final = 2
"""Results that are listed under a fix; the others are counted."""

_FEW_PATIENTS: Final = 20
"""Below so many patients, an interval itself is uncertain (docs/metrics.md), and more patients are the best investment."""


class NextStep(NamedTuple):
    """Something to do, with the results that it is about."""

    text: str
    causes: tuple[str, ...] = ()


def next_steps(data: ReportData) -> tuple[NextStep, ...]:
    """First what makes the values invalid, then which decoder to use, what to change, and how to use the models."""
    return (*_validity(data), *_decoders(data), *_fixes(data), *_patients(data), *_use(data))


def _validity(data: ReportData) -> Iterator[NextStep]:
    if "simulated data" in data.marks:
        yield NextStep(
            "Do not conclude anything about tissue: the tiles are simulated. Run the pipeline on PanNuke (docs/pannuke.md) or "
            "on annotated images of your own (docs/own_data.md)."
        )
    if any("encoder" in mark for mark in data.marks):
        yield NextStep(
            "Choose an encoder that was trained on pathology (encoder.preset and encoder.weights, docs/encoders.md) before "
            "you compare values with those of others."
        )
    if data.data_warnings:
        text = "Look at what the checks of the data warn of; it is listed under “Folds as read”."
        yield NextStep(text, _shortened(data.data_warnings))
    absent = [one.evaluation or one.header for one in data.decoders]
    missing = tuple(
        f"split {one.split}, {family_label(one.family)}: {one.reason}" for one in absent if one.status == "absent"
    )
    if missing:
        yield NextStep(
            f"{counted(len(missing), 'decoder')} could not be evaluated. Add tiles, or change the families.", missing
        )


def _decoders(data: ReportData) -> Iterator[NextStep]:
    for line in decoders.recommendations(data.routed):
        yield NextStep(line)


def _fixes(data: ReportData) -> Iterator[NextStep]:
    fixes = advice_by_fix(data.summary, data.training_records, family_label)
    for fix, causes in list(fixes.items())[:_MOST_FIXES]:
        yield NextStep(f"Fix: {fix}.", _shortened(causes))
    if len(fixes) > _MOST_FIXES:
        yield NextStep(
            "Then run again, because the conclusions change with the values. "
            f"{len(fixes) - _MOST_FIXES} more proposals, for fewer values each, are in summary.txt."
        )
    graded = grade_counts(data.summary)
    if not fixes and graded.get("pass"):
        yield NextStep("No graded value asks for a change of the settings.")


def _patients(data: ReportData) -> Iterator[NextStep]:
    evaluated = [one for one in data.evaluations if one.status == "evaluated"]
    if not evaluated:
        return
    if all(one.n_patients == 0 for one in evaluated):
        yield NextStep(
            "Name the patient of each tile (patients.npy, or the column patient of tiles.csv): without it, the intervals are "
            "too narrow, and nobody can check that no patient is in training and test."
        )
        return
    few = [one for one in evaluated if one.n_patients + one.n_tiles_without_patient < _FEW_PATIENTS]
    if few:
        fewest = min(one.n_patients for one in few)
        none = f", and with fewer than {MIN_UNITS} there is none" if fewest < MIN_UNITS else ""
        yield NextStep(
            f"Annotate more patients for the test: the smallest evaluation has {fewest}. Intervals over fewer than "
            f"{_FEW_PATIENTS} patients are themselves uncertain{none}."
        )


def _use(data: ReportData) -> Iterator[NextStep]:
    if any(one.evaluation and one.evaluation.status == "evaluated" for one in data.decoders):
        yield NextStep(
            "Look at the random tiles of the galleries before you trust a mean. Then predict your own images and open them in "
            "QuPath: snakemake bundle, then cellvit predict (docs/predict.md)."
        )


def _shortened(causes: tuple[str, ...]) -> tuple[str, ...]:
    rest = len(causes) - _MOST_CAUSES
    return causes if rest < 2 else (*causes[:_MOST_CAUSES], f"and {rest} more")
