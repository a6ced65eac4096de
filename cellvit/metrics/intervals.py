"""Bootstrap intervals of means and of quotients of sums over tiles.

Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Tiles of one patient
are similar: with `groups`, patients are sampled instead of tiles (cluster bootstrap), which gives wider intervals.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Shaped

from cellvit.errors import ContractError
from cellvit.metrics.ratio import ratio

RESAMPLES: Final = 1000
"""Resamples per interval; the standard error of an end is then 2 % of its width (normal approximation)."""

LEVEL: Final = 0.95
"""Nominal coverage of an interval, as usual in the field."""

BLOCK_SIZE: Final = 1 << 18
"""Units sampled at once; limits the memory of a bootstrap to a few megabytes for any number of tiles."""

Statistic = Callable[[Float64[np.ndarray, "r k"]], Float64[np.ndarray, " r"]]
"""Metric of each row of sums over tiles."""


class Interval(NamedTuple):
    """The value of a metric with its bootstrap interval.

    Attributes:
        value: The metric over all tiles; NaN if undefined.
        low, high: Its ends; NaN if there are fewer than two tiles (or groups) to sample from.
        n: Number of tiles from which the value was computed.
    """

    value: float
    low: float
    high: float
    n: int


def bootstrap(
    statistic: Statistic,
    rows: Float[np.ndarray, "n k"],
    *,
    rng: np.random.Generator,
    groups: Shaped[np.ndarray, " n"] | None = None,
) -> Interval:
    """Interval of a metric of sums over tiles, such as pooled Dice, F1 or mPQ+.

    Resamples in which the metric is undefined are left out.

    Args:
        statistic: Maps sums over tiles, one row per resample, to the metric.
        rows: Contribution of each tile to the sums; finite.
        rng: Generator of the resamples.
        groups: Patient (or slide) of each tile; its tiles are sampled together.

    Raises:
        ContractError: A row is not finite, or `groups` does not have one entry per tile.

    Examples:
        >>> rows = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])  # TP and all nuclei of three tiles
        >>> bootstrap(lambda sums: sums[:, 0] / sums[:, 1], rows, rng=np.random.default_rng(0))
        Interval(value=0.6666666666666666, low=0.5, high=1.0, n=3)
    """
    _check(rows, groups)
    units = rows.astype(np.float64) if groups is None else _sums_by_group(rows, groups)
    value = float(statistic(units.sum(axis=0, keepdims=True))[0])
    if len(units) < 2:
        return Interval(value, float("nan"), float("nan"), len(rows))
    values = np.concatenate([statistic(sums) for sums in _resampled_sums(units, rng)])
    defined = values[~np.isnan(values)]
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(defined, ends).tolist() if defined.size else (float("nan"), float("nan"))
    return Interval(value, low, high, len(rows))


def bootstrap_mean(
    values: Float[np.ndarray, " n"], *, rng: np.random.Generator, groups: Shaped[np.ndarray, " n"] | None = None
) -> Interval:
    """Interval of the mean of the defined values; tiles with NaN are left out, and `n` counts the others.

    Examples:
        >>> bootstrap_mean(np.array([0.5, 0.5, np.nan]), rng=np.random.default_rng(0))
        Interval(value=0.5, low=0.5, high=0.5, n=2)
    """
    one_organ = np.zeros(len(values), np.int64)
    return bootstrap_organ_mean(values, one_organ, rng=rng, groups=groups)


def bootstrap_organ_mean(
    values: Float[np.ndarray, " n"],
    organs: Shaped[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    groups: Shaped[np.ndarray, " n"] | None = None,
) -> Interval:
    """Interval of `cellvit.metrics.pannuke.mean_over_organs`; tiles with NaN are left out.

    Tiles are sampled from all organs together; an organ that is absent from a resample is left out of its mean.
    Balanced accuracy is such a mean too: of correct (1) and wrong (0) tiles, with their true classes as `organs`.

    Examples:
        >>> values, organs = np.array([0.5, 0.5, 0.5, np.nan]), np.array(["Colon", "Colon", "Liver", "Liver"])
        >>> bootstrap_organ_mean(values, organs, rng=np.random.default_rng(0))
        Interval(value=0.5, low=0.5, high=0.5, n=3)
    """
    _check(values[:, None], groups, finite=False)
    defined = ~np.isnan(values)
    names, organ = np.unique(organs[defined], return_inverse=True)
    member = (organ[:, None] == np.arange(len(names))).astype(np.float64)
    rows = np.concatenate([member * values[defined, None], member], axis=1)
    groups = None if groups is None else groups[defined]
    return bootstrap(_mean_of_ratios, rows, rng=rng, groups=groups)


def _mean_of_ratios(sums: Float64[np.ndarray, "r 2*o"]) -> Float64[np.ndarray, " r"]:
    totals, sizes = np.split(sums, 2, axis=1)
    present = sizes > 0
    means = np.where(present, totals, 0) / np.where(present, sizes, 1)
    return ratio(means.sum(axis=1), present.sum(axis=1))


def _resampled_sums(
    units: Float64[np.ndarray, "u k"], rng: np.random.Generator
) -> Iterator[Float64[np.ndarray, "r k"]]:
    n_units = len(units)
    block = max(1, BLOCK_SIZE // n_units)
    for start in range(0, RESAMPLES, block):
        r = min(block, RESAMPLES - start)
        # How often each resample contains each unit; one matrix product then gives all sums.
        sampled = rng.integers(n_units, size=(r, n_units)) + n_units * np.arange(r)[:, None]
        times = np.bincount(sampled.ravel(), minlength=r * n_units).reshape(r, n_units)
        yield times.astype(np.float64) @ units


def _sums_by_group(rows: Float[np.ndarray, "n k"], groups: Shaped[np.ndarray, " n"]) -> Float64[np.ndarray, "u k"]:
    names, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, group, rows)
    return sums


def _check(rows: Float[np.ndarray, "n k"], groups: Shaped[np.ndarray, " n"] | None, *, finite: bool = True) -> None:
    if groups is not None and len(groups) != len(rows):
        raise ContractError(
            f"bootstrap: expected one group for each of {len(rows)} tiles, found {len(groups)}. "
            "Pass the patient of every tile, also of tiles with NaN."
        )
    if finite and not np.isfinite(rows).all():
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        raise ContractError(
            f"bootstrap: expected finite sums, found NaN or infinity in rows {wrong[:8].tolist()} of {len(rows)}. "
            "Pass counts and sums here, and values that may be NaN to bootstrap_mean()."
        )
