"""Graded rows -> summary.txt: a conclusion, which ends a run in the terminal, then all main values, advice and warnings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from types import MappingProxyType
from typing import Final

from cellvit.evaluation.advice import advice_by_fix
from cellvit.evaluation.grading import grade_counts
from cellvit.evaluation.summary import ORGAN_HEAD, Keyed
from cellvit.evaluation.training_record import TrainingRecord
from cellvit.formats.evaluations import ORGAN_PREDICTED
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.metrics.intervals import MIN_UNITS
from cellvit.taxonomy import ONE_DECODER

COLUMNS: Final = ("np_dice", "hv_skill", "hv_length", "nt_accuracy", "dice", "aji", "bpq", "mpq", "detection_f1")
"""Metrics of the table; summary.csv has all."""

SYSTEMS: Final = ("families", "shared", "classical", "trivial", "upper_bound")
"""Systems below the line of each family."""

_MARKS: Final = {"pass": "+", "partial": "~", "fail": "!", "undefined": "?", "": " "}
_LEGEND: Final = "+ pass   ~ partial   ! fail   ? undefined;  95 % intervals and all other metrics: summary.csv"
_NO_INTERVAL: Final = f"No interval: fewer than {MIN_UNITS} patients (or tiles), or all of them agree."
_SIMULATED: Final = "These values show that the pipeline runs; they say nothing about tissue."
_NO_PATHOLOGY: Final = "These values say nothing about the features of a foundation model of pathology."
_CONCLUDED: Final = ("aji", "bpq", "mpq")
"""Metrics of the conclusion."""

_BASELINES: Final = MappingProxyType({"classical": "the classical baseline", "shared": "the shared decoder"})
"""Systems that the verdict compares with, on the same tiles."""

_WHO: Final = {
    ORGAN_PREDICTED: "Each tile with the decoder of the organ that OrganHead predicts",
    ONE_DECODER: "The decoder",
}
"""Which decoder the conclusion is about, by the family of the rows; else it is that of the only family."""

_TERMINAL: Final = 100
_NAME_WIDTH: Final = 22
_WIDTH: Final = 13


def summary_text(
    keyed: Keyed,
    *,
    records: Mapping[tuple[str, str], TrainingRecord] = MappingProxyType({}),
    marks: Sequence[str] = (),
    warnings: Sequence[str] = (),
    decoders: str = "",
    absent: Mapping[str, str],
) -> str:
    """The whole text: the conclusion, a table for each split, OrganHead, what to try, and what is missing.

    The conclusion is the first paragraph: at most nine lines of at most 100 characters, with which a run ends.

    Args:
        records: How the decoders were trained, by split and family; the advice depends on it.
        marks: What must be shown with every value: simulated data, the mark of the encoder.
        warnings: Lines about what to check, as a watershed that was not tuned.
        decoders: A line on which decoders are used.
        absent: Why there are no values, by what is absent.
    """
    advised = advice_by_fix(keyed, records)
    lines = [*_conclusion(keyed, marks, list(advised), len(warnings) + len(absent)), ""]
    lines += [decoders, ""] if decoders else []
    for split in dict.fromkeys(split for split, _ in keyed):
        of_split = {family: rows for (name, family), rows in keyed.items() if name == split}
        lines += [*_table(split, of_split), ""]
    lines += [_LEGEND, ""]
    lines += _section(
        "What to try", [line for fix, at in advised.items() for line in (fix, *(f"    {one}" for one in at))]
    )
    lines += _section("Absent", [f"{name}: {reason}" for name, reason in absent.items()])
    lines += _section("Warnings", warnings)
    return "\n".join(lines).rstrip() + "\n"


def _conclusion(keyed: Keyed, marks: Sequence[str], fixes: Sequence[str], n_warnings: int) -> Iterable[str]:
    if marks:
        meaning = _SIMULATED if "simulated data" in marks else _NO_PATHOLOGY
        yield _two_lines(f"MARKED: {', '.join(marks)}. {meaning}")
    family = next((name for _, name in keyed if name == ORGAN_PREDICTED), next((name for _, name in keyed), ""))
    splits = dict.fromkeys(split for split, name in keyed if name == family)
    split = MEAN_SPLIT if MEAN_SPLIT in splits else next(iter(splits), "")
    rows = keyed.get((split, family), {})
    shown = [rows[metric] for metric in _CONCLUDED if metric in rows and not math.isnan(rows[metric].value)]
    if shown:
        place = "mean and range of the splits" if split == MEAN_SPLIT else f"{shown[0].n} test tiles of split {split}"
        yield f"{_WHO.get(family, f'The decoder of family {family}')} ({place}):"
        yield "  " + "   ".join(map(_with_range, shown))
        if any(map(_lacks_interval, shown)):
            yield f"  {_NO_INTERVAL}"
    else:
        yield "No value of the whole workflow is defined."
    counts = ", ".join(f"{count} {grade}" for grade, count in grade_counts(keyed).items() if count)
    of_splits = [rows for (name, other), rows in keyed.items() if other == family and name != MEAN_SPLIT]
    yield _two_lines(f"Verdict: {_verdict(rows, of_splits)}Grades: {counts or 'none'}; warnings: {n_warnings}.")
    for fix in fixes[:1]:
        yield _two_lines(f"Next: {fix}.")


def _verdict(rows: Mapping[str, SummaryRow], of_splits: Sequence[Mapping[str, SummaryRow]]) -> str:
    """A sentence on the first metric against each baseline; empty where there is none.

    Args:
        rows: Rows of the conclusion: of the only split, or the means.
        of_splits: Rows of each split.
    """
    found = []
    for system, name in _BASELINES.items():
        key = f"{_CONCLUDED[0]}_minus_{system}"
        row = rows.get(key)
        if row and not math.isnan(row.value):
            found.append(_comparison(row.value, name, [split[key] for split in of_splits if key in split]))
    return f"{_CONCLUDED[0]} is {' and '.join(found)}. " if found else ""


def _comparison(difference: float, name: str, of_splits: Sequence[SummaryRow]) -> str:
    """A difference in words: better or worse where the interval of every split is on one side of zero.

    The smallest and the largest value of two or three splits are no confidence interval, because the splits share tiles.
    """
    better, worse = all(row.low > 0 for row in of_splits), all(row.high < 0 for row in of_splits)
    word = "better than" if better else "worse than" if worse else "not clearly better than"
    return f"{word} {name} ({difference:+.3f})"


def _two_lines(text: str) -> str:
    return fill(text, _TERMINAL, subsequent_indent="  ", max_lines=2, placeholder=" ...")


def _table(split: str, families: Mapping[str, Mapping[str, SummaryRow]]) -> Iterable[str]:
    title, unit = ("mean over splits", "splits") if split == MEAN_SPLIT else (f"split {split}", "tiles")
    yield f"{title:<{_NAME_WIDTH}}{unit:>6}" + "".join(f"{name:>{_WIDTH}}" for name in COLUMNS)
    for family, rows in families.items():
        if family == ORGAN_HEAD:
            continue
        yield _line(family, rows, "")
        seeds = max(row.seeds for row in rows.values())
        if seeds > 1:
            spread = {name: row._replace(value=row.seed_sd, n=row.seeds, gate="") for name, row in rows.items()}
            yield _line(f"  sd of {seeds} seeds", spread, "")
        for system in SYSTEMS:
            if any(metric.endswith(f".{system}") for metric in rows):
                yield _line(f"  {system}", rows, f".{system}")
    if ORGAN_HEAD in families:
        rows = families[ORGAN_HEAD]
        values = "   ".join(f"{metric} {_cell(row).strip()}" for metric, row in rows.items())
        yield f"{ORGAN_HEAD:<{_NAME_WIDTH}}{max(row.n for row in rows.values()):>6}   {values}"


def _line(name: str, rows: Mapping[str, SummaryRow], suffix: str) -> str:
    cells = [rows.get(f"{metric}{suffix}") for metric in COLUMNS]
    n = max((cell.n for cell in cells if cell is not None), default=0)
    return f"{name:<{_NAME_WIDTH}}{n:>6}" + "".join(_cell(cell) for cell in cells)


def _with_range(row: SummaryRow) -> str:
    low, high = (row.split_min, row.split_max) if row.split == MEAN_SPLIT else (row.low, row.high)
    ends = "" if math.isnan(low) else f" ({low:.3f} to {high:.3f})"
    return f"{row.metric} {row.value:.3f}{' (no interval)' if _lacks_interval(row) else ends}"


def _lacks_interval(row: SummaryRow) -> bool:
    """True for a value of one split without interval; rows of means have a range instead."""
    return row.units > 0 and math.isnan(row.low)


def _cell(row: SummaryRow | None) -> str:
    if row is None:
        return f"{'':>{_WIDTH}}"
    text = "-" if math.isnan(row.value) else f"{row.value:.3f}"
    return f"{text + _MARKS[row.gate]:>{_WIDTH}}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines), ""] if lines else []
