"""Table of `cellvit compare`: two runs on the same tiles (compare.csv)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from cellvit.formats.atomic import write_text

Outcome = Literal["higher in B", "lower in B", "not clear", "equal", "undefined"]
"""Result of a comparison; equal: the two runs have the same scores on every tile."""


class ComparedRow(NamedTuple):
    """The value of one metric in two runs, A and B, on the tiles that both have scored.

    Attributes:
        family: Family of decoders; organ_predicted and organ_given for all test tiles, as in summary.csv.
        system: decoder, shared, classical or upper_bound.
        a, b: Value in either run; NaN if undefined.
        difference: B minus A, paired by tile.
        low, high: Ends of the 95 % interval of the difference; NaN if there is none.
        n: Tiles that define the value in both runs.
        units: Patients of these tiles, or tiles where no patient is known: what the interval samples.
        outcome: Whether the difference is clear, given the number of comparisons.
    """

    split: str
    family: str
    system: str
    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    n: int
    units: int
    outcome: Outcome


def write_rows(path: Path, rows: Iterable[ComparedRow]) -> None:
    """Write rows under a header; undefined numbers are empty cells."""
    table = pd.DataFrame(rows, columns=pd.Index(ComparedRow._fields))
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
