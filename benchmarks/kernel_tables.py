"""What was measured, as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from kernel_checks import Verdict
from kernel_tiles import Case

from cellvit.formats.atomic import write_text

MARKS: Final = ("<!-- tables of benchmarks/kernels.py -->", "<!-- end of tables -->")
"""What stands between these lines of an existing file is replaced by the tables."""


class Versus(NamedTuple):
    """A peer beside ours.

    Attributes:
        name: Its function.
        ms: Its time a tile.
        low: Lower quartile of its time over ours.
        middle: Median of the same.
        high: Upper quartile.
        verdict: Whether the results agree.
    """

    name: str
    ms: float
    low: float
    middle: float
    high: float
    verdict: Verdict


class Row(NamedTuple):
    """A line of the table: our time a tile, and a peer where there is one."""

    task: str
    ours: str
    our_ms: float
    versus: Versus | None = None


class Whole(NamedTuple):
    """A piece of work at the size of a fold, with the seconds that it took."""

    task: str
    seconds: float


def table(n_nuclei: int, cases: Sequence[Case], rows: Sequence[Row]) -> str:
    """Everything timed on tiles of one number of nuclei."""
    found = [len(case.true.class_of) for case in cases]
    coverage = np.mean([np.count_nonzero(case.true.instances) / case.true.instances.size for case in cases])
    lines = [
        f"### {n_nuclei} nuclei a tile",
        "",
        f"{len(cases)} tiles of {_span(found)} nuclei that cover {coverage:.0%} of the pixels.",
        "",
        "| task | ours | ms | theirs | ms | times faster | results |",
        "|---|---|--:|---|--:|--:|---|",
    ]
    for row in rows:
        cells = [row.task, row.ours, f"{row.our_ms:.2f}"]
        if versus := row.versus:
            ratio = f"**{_short(versus.middle)}** ({_short(versus.low)} to {_short(versus.high)})"
            cells += [versus.name, f"{versus.ms:.2f}", ratio, versus.verdict.text]
        else:
            cells += ["", "", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def whole_table(whole: Sequence[Whole], n_nuclei: int) -> str:
    """What whole folds took."""
    lines = [
        "### Whole folds",
        "",
        f"Tiles of about {n_nuclei} nuclei, really gone through.",
        "",
        "| task | s |",
        "|---|--:|",
    ]
    return "\n".join([*lines, *(f"| {entry.task} | {entry.seconds:.2f} |" for entry in whole)])


def write_tables(path: Path, text: str) -> None:
    """Put the tables between the marks of the file, or into a file of their own."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if all(mark in old for mark in MARKS):
        text = f"{old.split(MARKS[0])[0]}{MARKS[0]}\n\n{text}\n{MARKS[1]}{old.split(MARKS[1], 1)[1]}"
    write_text(path, text)


def _short(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
