"""Results of the measurements as Markdown."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from kernel_checks import Verdict
from kernel_tiles import Case


class Comparison(NamedTuple):
    """A function of another project compared with ours.

    Attributes:
        ms: Its time per tile.
        low: Lower quartile of its time divided by ours; `middle` is the median, `high` the upper quartile.
        verdict: Whether the results agree.
    """

    name: str
    ms: float
    low: float
    middle: float
    high: float
    verdict: Verdict


class Row(NamedTuple):
    """A row of the table: our time per tile, and a function of another project if there is one."""

    task: str
    ours: str
    our_ms: float
    theirs: Comparison | None = None


def table(n_nuclei: int, cases: Sequence[Case], rows: Sequence[Row]) -> str:
    """All measurements on tiles with about `n_nuclei` nuclei."""
    counts = [len(case.true.class_of) for case in cases]
    coverage = np.mean([np.count_nonzero(case.true.instances) / case.true.instances.size for case in cases])
    lines = [
        f"### {n_nuclei} nuclei per tile",
        "",
        f"{len(cases)} tiles of {_span(counts)} nuclei, which cover {coverage:.0%} of the pixels.",
        "",
        "| task | ours | ms | theirs | ms | times faster | results |",
        "|---|---|--:|---|--:|--:|---|",
    ]
    return "\n".join([*lines, *map(_line, rows)])


def table_of_folds(n_nuclei: int, seconds: Mapping[str, float]) -> str:
    """Seconds of the work of whole folds."""
    lines = ["### Whole folds", "", f"Every tile of the fold is processed; it has about {n_nuclei} nuclei.", ""]
    rows = [f"| {task} | {taken:.2f} |" for task, taken in seconds.items()]
    return "\n".join([*lines, "| task | s |", "|---|--:|", *rows])


def _line(row: Row) -> str:
    cells = ["", "", "", ""]
    if theirs := row.theirs:
        ratio = f"**{_short(theirs.middle)}** ({_short(theirs.low)} to {_short(theirs.high)})"
        cells = [theirs.name, f"{theirs.ms:.2f}", ratio, theirs.verdict.text]
    return f"| {' | '.join([row.task, row.ours, f'{row.our_ms:.2f}', *cells])} |"


def _short(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
