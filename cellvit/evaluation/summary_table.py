"""Graded rows -> the table that ends a run in the terminal."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cellvit.evaluation.grading import advice, by_fix
from cellvit.evaluation.summary import ORGAN_HEAD, Keyed
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow

COLUMNS: Final = ("np_dice", "hv_skill", "hv_length", "nt_accuracy", "dice", "aji", "bpq", "mpq", "detection_f1")
"""Metrics of the table; summary.csv has all."""

SYSTEMS: Final = ("shared", "classical", "trivial", "upper_bound")
"""Systems below the line of each family."""

_MARKS: Final = {"pass": "+", "partial": "~", "fail": "!", "undefined": "?", "": " "}
_LEGEND: Final = "+ pass   ~ partial   ! fail   ? undefined;  95 % intervals and all other metrics: summary.csv"
_SIMULATED: Final = "These values show that the pipeline runs; they say nothing about tissue."
_UNTRAINED: Final = "These values say nothing about the features of a trained foundation model."
_NAME_WIDTH: Final = 22
_WIDTH: Final = 13


def summary_text(
    keyed: Keyed, *, marks: Sequence[str] = (), warnings: Sequence[str] = (), absent: Mapping[str, str]
) -> str:
    """The whole text: a table for each split, OrganHead, what to try, and what is missing.

    Args:
        marks: What must be shown with every value: simulated data, untrained encoder.
        warnings: Lines about what to check, as a watershed that was chosen at the border of its grid.
        absent: Why there are no values, by what is absent.
    """
    meaning = _SIMULATED if "simulated data" in marks else _UNTRAINED
    lines = [f"MARKED: {', '.join(marks)}. {meaning}", ""] if marks else []
    for split in dict.fromkeys(split for split, _ in keyed):
        of_split = {family: rows for (name, family), rows in keyed.items() if name == split}
        lines += [*_table(split, of_split), ""]
    lines += [_LEGEND, ""]
    lines += _section("What to try", _advice_lines(keyed))
    lines += _section("Absent", [f"{name}: {reason}" for name, reason in absent.items()])
    lines += _section("Warnings", warnings)
    return "\n".join(lines).rstrip() + "\n"


def _table(split: str, families: Mapping[str, Mapping[str, SummaryRow]]) -> Iterable[str]:
    title, unit = ("mean over splits", "splits") if split == MEAN_SPLIT else (f"split {split}", "tiles")
    yield f"{title:<{_NAME_WIDTH}}{unit:>6}" + "".join(f"{name:>{_WIDTH}}" for name in COLUMNS)
    for family, rows in families.items():
        if family == ORGAN_HEAD:
            continue
        yield _line(family, rows, "")
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


def _cell(row: SummaryRow | None) -> str:
    if row is None:
        return f"{'':>{_WIDTH}}"
    text = "-" if math.isnan(row.value) else f"{row.value:.3f}"
    return f"{text + _MARKS[row.gate]:>{_WIDTH}}"


def _advice_lines(keyed: Keyed) -> list[str]:
    """A line for each fix, and below it one for each result that it may help."""
    advised = (
        (f"split {split}, {family}", one)
        for (split, family), rows in keyed.items()
        if split != MEAN_SPLIT  # the same advice as for the splits
        for one in advice(rows)
    )
    return [line for fix, results in by_fix(advised).items() for line in (fix, *(f"    {at}" for at in results))]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines), ""] if lines else []
