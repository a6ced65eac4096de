"""What `cellvit compare` found, as text for the terminal of at most 100 columns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import fill
from typing import Final

from cellvit.evaluation.comparison import Comparison
from cellvit.evaluation.finished_run import OWN
from cellvit.formats.comparison import ComparedRow

_COLUMNS: Final = 100


def comparison_text(comparison: Comparison, runs: tuple[str, str], marks: Sequence[str]) -> str:
    """Settings that differ, the decoders whose scores differ, and how the differences were judged.

    Args:
        runs: Names of A and B.
        marks: What must be shown with every value, such as simulated data.
    """
    lines = [f"MARKED: {', '.join(marks)}."] if marks else []
    lines += [f"A: {runs[0]}", f"B: {runs[1]}", "", *_settings(comparison.settings), ""]
    equal = []
    own = (row for row in comparison.rows if row.system == OWN)
    for (split, family), of_decoder in groupby(own, key=lambda row: (row.split, row.family)):
        rows = list(of_decoder)
        if "equal" in (outcomes := {row.outcome for row in rows}) and outcomes <= {"equal", "undefined"}:
            equal.append(f"split {split}, {family}")
        else:
            lines += [*_table(split, family, rows), ""]
    lines += [_filled(f"No difference on any tile: {'; '.join(equal)}."), ""] if equal else []
    lines += [*map(_filled, comparison.notes), ""] if comparison.notes else []
    return "\n".join([*lines, *map(_filled, judgement(comparison))]) + "\n"


def judgement(comparison: Comparison) -> Iterator[str]:
    """How many differences are clear, and what that means, in sentences."""
    outcomes = [row.outcome for row in comparison.rows]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in ("higher in B", "lower in B", "not clear"))
    yield f"{comparison.n_comparisons} comparisons of all systems: {counts}; {outcomes.count('equal')} equal."
    yield (
        "A difference is clear if it is not 0 with 95 % confidence in all of these comparisons together (Holm's correction; "
        "over patients, or over tiles where no patient is known; at least 3). The intervals shown are those of one "
        "comparison alone."
    )
    yield (
        "The intervals cover the choice of test patients, not the noise between trainings: repeat both runs with other "
        "seeds before you rely on a small difference."
    )


def _settings(settings: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    yield "Settings that differ:" if settings else "No setting differs."
    yield from (_filled(f"  {key}: {a} in A, {b} in B") for key, (a, b) in settings.items())


def _table(split: str, family: str, rows: Sequence[ComparedRow]) -> Iterator[str]:
    yield (
        f"split {split}, {family}".ljust(24)
        + f"{'A':>8}{'B':>8}{'B - A':>9}  {'95 % interval':20}{'tiles':>6}{'units':>6}"
    )
    for row in rows:
        ends = "" if math.isnan(row.low) else f"{row.low:+.3f} to {row.high:+.3f}"
        numbers = f"{_number(row.a):>8}{_number(row.b):>8}{_number(row.difference, '+'):>9}"
        yield f"  {row.metric:22}{numbers}  {ends:20}{row.n:>6}{row.units:>6}  {row.outcome}"


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"


def _filled(line: str) -> str:
    return fill(line, _COLUMNS, subsequent_indent="    " if line.startswith(" ") else "")
