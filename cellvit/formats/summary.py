"""summary.csv: every value of every family and split, with its grade."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from cellvit.formats.atomic import write_text
from cellvit.formats.documents import Digests, Document
from cellvit.formats.tables import read_table

Grade = Literal["pass", "partial", "fail", "undefined", ""]
"""Result of a quality gate; undefined if the value is NaN, empty if the metric is not graded."""

MEAN_SPLIT = "mean"
"""Split of rows that are means over all splits, as published results are."""


class SummaryRow(NamedTuple):
    """The value of one metric of one family on one split.

    Attributes:
        split: Name of the split; `MEAN_SPLIT` for the mean over splits.
        family: Family of decoders; organ_predicted and organ_given for all test tiles, organ_head for OrganHead.
        metric: Name of the metric; a system other than the family's own follows after a dot (``aji.classical``).
        value: NaN if undefined.
        low: Lower end of the 95 % interval; NaN where there is none, as in mean rows.
        high: Upper end.
        split_min: Smallest value of a split; NaN except in mean rows of two splits or more.
        split_max: Largest value of a split; NaN except in mean rows.
        n: Tiles that define the value; in mean rows splits.
        units: Patients (tiles where no patient is known) that the interval is over; 0 if none is computed, as in mean rows.
        gate: Grade.
        seeds: Trainings with different seeds that define the value; 1 without further seeds.
        seed_sd: Standard deviation of the value over them (n - 1); NaN where there are fewer than two.
    """

    split: str
    family: str
    metric: str
    value: float
    low: float
    high: float
    split_min: float
    split_max: float
    n: int
    units: int
    gate: Grade = ""
    seeds: int = 1
    seed_sd: float = math.nan


class SummaryOrigin(Document):
    """What summary.csv and summary.txt were made from; `tables` has their digests under their names."""

    format: Literal["cellvit-summary-origin"] = "cellvit-summary-origin"
    tables: Digests


_NUMBERS = ("value", "low", "high", "split_min", "split_max", "n", "units", "seeds", "seed_sd")


def write_summary(path: Path, rows: Iterable[SummaryRow]) -> None:
    """Write the rows under a header; undefined numbers are empty cells."""
    table = pd.DataFrame(rows, columns=pd.Index(SummaryRow._fields))
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_summary(path: Path) -> tuple[SummaryRow, ...]:
    """The rows, bit for bit as written.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It has other columns.
    """
    table = read_table(path, SummaryRow._fields, _NUMBERS).astype({"n": int, "units": int, "seeds": int})
    return tuple(SummaryRow(*row) for row in table.itertuples(index=False, name=None))
