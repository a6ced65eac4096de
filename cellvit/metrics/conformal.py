"""Intervals of counts with a stated coverage, by split conformal prediction; nothing is assumed of how the errors are spread.

Units (patients, or tiles) whose true count is known give a bound of the relative error. If a new unit is exchangeable with
them, its true count lies within the bound with at least the stated probability.

References:
    Lei et al., Distribution-free predictive inference for regression, Journal of the American Statistical Association 2018.
    Vovk, Conditional validity of inductive conformal predictors, ACML 2012 (how coverage varies between sets of units).
"""

import math

import numpy as np
from jaxtyping import Bool, Float64, Int64

_ROUNDING = 1e-9
"""Less than 1 / n of any n that occurs: (n + 1) * level may lie above a whole number by a rounding error."""


def count_scores(true: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Error of each predicted count as a share of it, 0 and up; 1 is added to the count, so that none is divided by 0.

    Examples:
        >>> count_scores(np.array([10, 3]), np.array([19, 0])).tolist()
        [0.45, 3.0]
    """
    scores: Float64[np.ndarray, " n"] = np.abs(true - predicted) / (predicted + 1)
    return scores


def bound_rank(n_units: int, level: float) -> int:
    """Place, from 1, of the score that is the bound among the ascending scores; above `n_units` if there are too few."""
    return max(1, math.ceil((n_units + 1) * level - _ROUNDING))


def share_bound(scores: Float64[np.ndarray, " n"], level: float) -> float:
    """The score that a new unit does not exceed with probability `level`; NaN if there are too few units to say so.

    Args:
        scores: Scores of the units (`count_scores`).
        level: Stated coverage, between 0 and 1; 0.9 needs 9 units.

    Examples:
        >>> share_bound(np.array([0.3, 0.1, 0.2, 0.4]), 0.8)
        0.4
        >>> share_bound(np.array([0.3, 0.1, 0.2]), 0.8)
        nan
    """
    rank = bound_rank(len(scores), level)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.nan


def covered(scores: Float64[np.ndarray, " n"], share: float) -> Bool[np.ndarray, " n"]:
    """Whether the true count of each unit lies in predicted +- share x (predicted + 1)."""
    inside: Bool[np.ndarray, " n"] = scores <= share
    return inside


def expected_covered(n_units: int, n_test: int, level: float) -> tuple[int, int]:
    """Fewest and most of `n_test` units that are covered in 95 % of all cases, if they are exchangeable with `n_units` units.

    The bound comes from few units, so that the coverage that it has differs from the stated one by chance: the number of
    covered units has a beta-binomial distribution (exactly without ties, and with ties it is higher).

    Raises:
        ValueError: There are too few units for a bound.

    Examples:
        >>> expected_covered(9, 20, 0.9)
        (12, 20)
    """
    from scipy.stats import betabinom  # here, because it takes half a second, and most steps do not need it

    rank = bound_rank(n_units, level)
    if rank > n_units:
        raise ValueError(f"{n_units} units are too few for the coverage {level}")
    low, high = betabinom.interval(0.95, n_test, rank, n_units + 1 - rank)
    return int(low), int(high)
