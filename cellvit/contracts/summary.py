"""Rows of summary.csv."""

from typing import Literal, NamedTuple

Grade = Literal["pass", "partial", "fail", "undefined", ""]
"""How a row does at its gate; undefined where the value is NaN, empty where nothing grades it."""

MEAN_SPLIT = "mean"
"""Split of rows that are means over all splits, as published results are."""


class SummaryRow(NamedTuple):
    """One figure of one family on one split.

    Attributes:
        split: Name of the split; `MEAN_SPLIT` for the mean over splits.
        family: Family of decoders; routed and known_organ for all test tiles, organ_head for OrganHead.
        metric: Name of the figure; another system than the family's own follows after a dot (``aji.classical``).
        value: NaN where undefined.
        low: Lower end of the 95 % bootstrap interval; in mean rows the least split.
        high: Upper end; in mean rows the greatest split.
        n: Tiles that define the value; in mean rows splits.
        gate: Grade.
    """

    split: str
    family: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    gate: Grade = ""
