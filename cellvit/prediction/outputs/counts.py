"""Counts of nuclei by class, with intervals from the calibration of the models, as records and as a table."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cellvit.formats.atomic import replacing
from cellvit.formats.calibration import CountBound
from cellvit.formats.cells import safe_cell
from cellvit.formats.prediction import ClassCount, SlideRun
from cellvit.prediction.outputs.measured import licence_word

ALL: Final = "all"
"""Name of the nuclei of all classes together."""

COLUMNS: Final = (
    "class",
    "n",
    "low",
    "high",
    "level",
    "unit",
    "mm2",
    "per_mm2",
    "per_mm2_low",
    "per_mm2_high",
    "licence",
)


def class_counts(
    n_of: Mapping[str, int], bounds: Sequence[Sequence[CountBound]], *, area_mm2: float
) -> tuple[ClassCount, ...]:
    """Counts with their intervals: of all nuclei first, then of each class.

    Args:
        n_of: Number of nuclei by class, in the order of the data set.
        bounds: Bounds of the decoder of each model; the widest counts, and no interval if a model has none.
        area_mm2: Size of the analysed area.

    Examples:
        >>> bound = CountBound(class_name="all", share=0.25, n_units=20)
        >>> class_counts({"Dead": 19}, [[bound]], area_mm2=2.0)[0]
        ClassCount(class_name='all', n=19, low=14.0, high=24.0, per_mm2=9.5)
    """
    named = [(ALL, sum(n_of.values())), *n_of.items()]
    # The first bound named "all" is that of all classes together, even where a class has this name too.
    of_all = [_share(some, ALL, first=True) for some in bounds]
    shares = [of_all, *([_share(some, name, first=False) for some in bounds] for name in n_of)]
    return tuple(_count(name, n, _widest(own), area_mm2) for (name, n), own in zip(named, shares, strict=True))


def write_counts(path: Path, run: SlideRun) -> None:
    """Write counts.csv: a row for all nuclei, then one for each class; undefined numbers are empty cells.

    Raises:
        OSError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(count, run) for count in run.counts)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def per_mm2(value: float, area_mm2: float) -> float:
    """Density of a count, which may be an end of an interval; NaN where the area is empty."""
    return value / area_mm2 if area_mm2 > 0 else math.nan


def _share(bounds: Sequence[CountBound], name: str, *, first: bool) -> float:
    shares = [bound.share for bound in bounds if bound.class_name == name]
    return (shares[0] if first else shares[-1]) if shares else math.nan


def _widest(shares: Sequence[float]) -> float:
    return math.nan if not shares or any(map(math.isnan, shares)) else max(shares)


def _count(name: str, n: int, share: float, area_mm2: float) -> ClassCount:
    half = share * (n + 1)
    low = math.nan if math.isnan(half) else max(0.0, n - half)
    return ClassCount(class_name=name, n=n, low=low, high=n + half, per_mm2=per_mm2(n, area_mm2))


def _cells(count: ClassCount, run: SlideRun) -> list[str]:
    has_interval = not math.isnan(count.low)
    ends = (per_mm2(end, run.area_mm2) for end in (count.low, count.high))
    return [
        safe_cell(count.class_name),
        str(count.n),
        _number(count.low, 2),
        _number(count.high, 2),
        str(run.count_level) if has_interval else "",
        run.count_unit if has_interval else "",
        _number(run.area_mm2, 6),
        _number(count.per_mm2, 3),
        *(_number(end, 3) for end in ends),
        licence_word(run.commercial_use) if not run.licence else safe_cell(run.licence),
    ]


def _number(value: float, decimals: int) -> str:
    return "" if math.isnan(value) else repr(round(value, decimals))
