"""Runs that differ in the seed alone -> mean and spread of every value."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.comparability import check_seeds_alone
from cellvit.evaluation.finished_run import FinishedRun, summary_of
from cellvit.formats.comparison import SpreadRow


def spread(runs: Sequence[FinishedRun]) -> tuple[SpreadRow, ...]:
    """Mean and spread of every value of summary.csv over runs that differ in the seed alone.

    Raises:
        SettingsError: There are fewer than two runs, other settings differ, or two runs have the same seed.
        ContractError: Their test tiles differ.
    """
    check_seeds_alone(runs)
    values: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        for row in summary_of(run):
            values.setdefault((row.split, row.family, row.metric), []).append(row.value)
    return tuple(_spread(key, np.array(found)) for key, found in values.items())


def _spread(key: tuple[str, str, str], values: Float64[np.ndarray, " r"]) -> SpreadRow:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return SpreadRow(*key, math.nan, math.nan, math.nan, math.nan, 0)
    sd = float(defined.std(ddof=1)) if defined.size > 1 else math.nan
    return SpreadRow(*key, float(defined.mean()), sd, float(defined.min()), float(defined.max()), defined.size)
