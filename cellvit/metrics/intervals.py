"""Intervals of means and of quotients of sums over tiles, by leaving out one patient (or tile) at a time.

The standard error comes from the jackknife: how much the metric changes without each patient. The squares of these
changes are added without the usual factor (u - 1) / u, which makes the interval slightly wider (CR3 of Bell and McCaffrey
2002). The ends are those of Student's t with u - 1 degrees of freedom, on a scale on which the metric has no bound: a
share on the logit scale, a distance on the scale of logarithms. So no end is a value that the metric cannot have, and
skewed data are covered better (docs/metrics.md has the coverage, measured by benchmarks/intervals.py). No random numbers are
used. Tiles of one patient are similar: with `groups`, patients are left out with all their tiles.

References:
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11 (jackknife).
    Bell and McCaffrey, Bias reduction in standard errors for linear regression with multi-stage samples, Survey
    Methodology 2002 (CR3; t with the number of groups minus one).
    Welch, The generalization of "Student's" problem when several different population variances are involved, Biometrika
    1947; Satterthwaite, Biometrics Bulletin 1946 (degrees of freedom of a difference between independent groups).
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
"""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped
from scipy.special import expit, logit, stdtr, stdtrit

from cellvit.errors import ContractError
from cellvit.metrics.ratio import ratio

LEVEL: Final = 0.95
"""Nominal coverage of an interval, as usual in the field."""

MIN_UNITS: Final = 3
"""Patients (or tiles) from which a value has an interval: the spread of two is too uncertain to be of use."""

_NO_SPREAD: Final = 1e-12
"""Standard error up to which the patients are considered equal: rounding alone gives about 1e-16."""

Scale = Literal["share", "positive", "at_most_one", "correlation", "real"]
"""Values that a metric can have: 0..1, above 0, up to 1, -1..1, any."""

Statistic = Callable[[Float64[np.ndarray, "r k"]], Float64[np.ndarray, " r"]]
"""Metric of each row of sums over tiles."""


class Interval(NamedTuple):
    """The value of a metric with its interval.

    Attributes:
        value: The metric over all tiles; NaN if undefined.
        low, high: Ends of the interval; NaN if fewer than `MIN_UNITS` patients (or tiles) define the value, if all of
            them agree, or if one of them alone makes the value defined.
        n: Number of tiles from which the value was computed.
        units: Number of patients (or tiles) that define the value; the interval has one degree of freedom less.
    """

    value: float
    low: float
    high: float
    n: int
    units: int


def interval_of_sums(
    statistic: Statistic,
    rows: Float[np.ndarray, "n k"],
    *,
    scale: Scale = "share",
    groups: Shaped[np.ndarray, " n"] | None = None,
) -> Interval:
    """Interval of a metric of sums over tiles, such as pooled Dice, F1 or mPQ+.

    Args:
        statistic: Maps sums over tiles, one row per set of tiles, to the metric.
        rows: Contribution of each tile to the sums; finite.
        scale: Values that the metric can have; both ends are among them.
        groups: Patient (or slide) of each tile; its tiles are left out together.

    Raises:
        ContractError: A row is not finite, or `groups` does not have one entry per tile.

    Examples:
        >>> rows = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])  # TP and all nuclei of three tiles
        >>> found = interval_of_sums(lambda sums: sums[:, 0] / sums[:, 1], rows)
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), found.n, found.units
        (0.667, 0.037, 0.99, 3, 3)
    """
    _check(rows, groups)
    units = rows.astype(np.float64) if groups is None else _sums_by_group(rows, groups)
    total = units.sum(axis=0)
    value = float(statistic(total[None])[0])
    change = statistic(total - units) - value
    # Patients without any class of a metric (an undefined value of their own, and no influence) say nothing about it.
    counts: Bool[np.ndarray, " u"] = ~np.isnan(statistic(units)) | (change != 0)
    n_units = int(counts.sum()) if not np.isnan(value) else 0
    error = float(np.sqrt(np.square(change[counts]).sum()))  # NaN if the metric is undefined without one of them
    low, high = _ends(value, error, n_units, scale)
    return Interval(value, low, high, len(rows), n_units)


def interval_of_mean(
    values: Float[np.ndarray, " n"], *, scale: Scale = "share", groups: Shaped[np.ndarray, " n"] | None = None
) -> Interval:
    """Interval of the mean of the defined values; tiles with NaN are left out, and `n` counts the others.

    Examples:
        >>> interval_of_mean(np.array([0.5, 0.6, np.nan]))
        Interval(value=0.55, low=nan, high=nan, n=2, units=2)
    """
    one_organ = np.zeros(len(values), np.int64)
    return interval_of_organ_mean(values, one_organ, scale=scale, groups=groups)


def interval_of_organ_mean(
    values: Float[np.ndarray, " n"],
    organs: Shaped[np.ndarray, " n"],
    *,
    scale: Scale = "share",
    groups: Shaped[np.ndarray, " n"] | None = None,
) -> Interval:
    """Interval of `cellvit.metrics.pannuke.mean_over_organs`; tiles with NaN are left out.

    An organ whose only patient is left out is left out of the mean with it.
    Balanced accuracy is such a mean too: of correct (1) and wrong (0) tiles, with their true classes as `organs`.

    Examples:
        >>> values, organs = np.array([0.4, 0.6, 0.7, np.nan]), np.array(["Colon", "Colon", "Liver", "Liver"])
        >>> found = interval_of_organ_mean(values, organs)
        >>> round(found.value, 3), found.n
        (0.6, 3)
    """
    _check(values[:, None], groups, finite=False)
    defined = ~np.isnan(values)
    names, organ = np.unique(organs[defined], return_inverse=True)
    member = (organ[:, None] == np.arange(len(names))).astype(np.float64)
    rows = np.concatenate([member * values[defined, None], member], axis=1)
    groups = None if groups is None else groups[defined]
    return interval_of_sums(_mean_of_ratios, rows, scale=scale, groups=groups)


def interval_of_difference(first: Interval, second: Interval, *, scale: Scale = "share") -> Interval:
    """Interval of `first` minus `second`, two values of one metric on different tiles, of patients that are independent.

    The standard errors of both add in squares, and Student's t has Welch's degrees of freedom. The interval is NaN where
    that of `first` or `second` is. `units` is the smaller of their numbers of patients.

    Args:
        scale: Values that the metric can have, as both intervals were computed with.

    Examples:
        >>> seen, unseen = Interval(0.6, 0.5, 0.7, 9, 5), Interval(0.5, 0.4, 0.6, 9, 5)
        >>> found = interval_of_difference(seen, unseen, scale="real")
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), found.n, found.units
        (0.1, -0.017, 0.217, 18, 5)
    """
    value, n, units = first.value - second.value, first.n + second.n, min(first.units, second.units)
    variances = np.square([_error(first, scale), _error(second, scale)])
    if not np.isfinite(variances).all():
        return Interval(value, float("nan"), float("nan"), n, units)
    total, parts = variances.sum(), np.square(variances) / (first.units - 1, second.units - 1)
    half = float(_quantile(total**2 / parts.sum()) * np.sqrt(total))
    return Interval(value, value - half, value + half, n, units)


def p_value(difference: float, low: float, high: float, units: int) -> float:
    """Two-sided p-value of a difference whose interval has the scale "real"; NaN without interval.

    Examples:
        >>> round(p_value(0.1, 0.0, 0.2, 5), 6)  # an interval that ends at 0
        0.05
    """
    if not high > low:
        return float("nan")
    error = (high - low) / 2 / _quantile(units - 1)
    return float(2 * stdtr(units - 1, -abs(difference) / error))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values: at most 5 % of such sets of comparisons have any false one below 0.05.

    NaN stays NaN, and counts as a comparison.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        (0.03, 0.06, 0.06)
    """
    adjusted, so_far = [float("nan")] * len(p_values), 0.0
    defined = sorted((p, place) for place, p in enumerate(p_values) if not np.isnan(p))
    for rank, (p, place) in enumerate(defined):
        so_far = max(so_far, min(1.0, p * (len(p_values) - rank)))
        adjusted[place] = so_far
    return tuple(adjusted)


_Transform = Callable[[float], float]

_SCALES: Final = MappingProxyType[Scale, tuple[_Transform, _Transform, _Transform]](
    {
        "share": (logit, expit, lambda value: 1 / (value * (1 - value))),
        "positive": (np.log, np.exp, lambda value: 1 / value),
        "at_most_one": (lambda value: -np.log1p(-value), lambda x: -np.expm1(-x), lambda value: 1 / (1 - value)),
        "correlation": (np.arctanh, np.tanh, lambda value: 1 / (1 - value**2)),
        "real": (lambda value: value, lambda x: x, lambda _: 1.0),
    }
)
"""For each scale the map to all real numbers, its inverse and its derivative."""


def _ends(value: float, error: float, n_units: int, scale: Scale) -> tuple[float, float]:
    """Ends by Student's t and the delta method on the scale of the metric; NaN for fewer than `MIN_UNITS` units, or without spread."""
    to_real, from_real, slope = _SCALES[scale]
    with np.errstate(all="ignore"):  # a value at its bound, such as a share of 1, has no finite place
        centre = float(to_real(np.float64(value)))
        if n_units < MIN_UNITS or not error > _NO_SPREAD or not np.isfinite(centre):
            return float("nan"), float("nan")
        half = float(_quantile(n_units - 1) * error * slope(np.float64(value)))
        return float(from_real(np.float64(centre - half))), float(from_real(np.float64(centre + half)))


def _error(interval: Interval, scale: Scale) -> float:
    """Standard error from which `_ends` made an interval; NaN or infinite where there is none."""
    to_real, _, slope = _SCALES[scale]
    with np.errstate(all="ignore"):
        low, high = (float(to_real(np.float64(end))) for end in (interval.low, interval.high))
        return (high - low) / 2 / float(_quantile(interval.units - 1) * slope(np.float64(interval.value)))


def _quantile(freedom: float) -> float:
    """Quantile of Student's t by its degrees of freedom."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _mean_of_ratios(sums: Float64[np.ndarray, "r 2*o"]) -> Float64[np.ndarray, " r"]:
    totals, sizes = np.split(sums, 2, axis=1)
    present = sizes > 0
    means = np.where(present, totals, 0) / np.where(present, sizes, 1)
    return ratio(means.sum(axis=1), present.sum(axis=1))


def _sums_by_group(rows: Float[np.ndarray, "n k"], groups: Shaped[np.ndarray, " n"]) -> Float64[np.ndarray, "u k"]:
    names, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, group, rows)
    return sums


def _check(rows: Float[np.ndarray, "n k"], groups: Shaped[np.ndarray, " n"] | None, *, finite: bool = True) -> None:
    if groups is not None and len(groups) != len(rows):
        raise ContractError(
            f"interval: expected one group for each of {len(rows)} tiles, found {len(groups)}. "
            "Pass the patient of every tile, also of tiles with NaN."
        )
    if finite and not np.isfinite(rows).all():
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        raise ContractError(
            f"interval: expected finite sums, found NaN or infinity in rows {wrong[:8].tolist()} of {len(rows)}. "
            "Pass counts and sums here, and values that may be NaN to interval_of_mean()."
        )
