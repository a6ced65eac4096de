"""How often 95 % intervals contain the value of the population, for few patients, and what an interval costs.

    python benchmarks/intervals.py                      # about two minutes
    python benchmarks/intervals.py --repetitions 4000   # standard error of a coverage: 0.3 %

For each kind of data, patients are drawn from a known population again and again. The table shows the share of the draws
whose interval contains the population's value: of `cellvit.metrics.intervals` (leaving out one patient at a time), and of
the percentile bootstrap with 1,000 resamples, which it replaced. Draws without an interval (all patients agree) are left
out and counted in the last column. The last line is the ratio of the times that both take for one fold of tiles.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from cellvit.metrics.intervals import Scale, Statistic, interval_of_sums
from cellvit.metrics.ratio import ratio

SIZES: Final = (3, 4, 8, 20, 100)
"""Patients in a draw."""

RESAMPLES: Final = 1000

Draw = Callable[[np.random.Generator, int], np.ndarray]


class Population(NamedTuple):
    """Patients with known value; a draw gives a row of sums per patient."""

    draw: Draw
    value: float
    statistic: Statistic
    scale: Scale = "share"


def quotient(sums: np.ndarray) -> np.ndarray:
    """Sum of the first column by that of the second."""
    return ratio(sums[:, 0], sums[:, 1])


def organ_mean(sums: np.ndarray) -> np.ndarray:
    """Mean over the organs that are present; the first half of the columns are sums, the second half tiles."""
    totals, sizes = np.split(sums, 2, axis=1)
    return ratio(np.where(sizes > 0, ratio(totals, sizes), 0).sum(axis=1), (sizes > 0).sum(axis=1))


def equal(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    """Patients of one tile each."""
    return lambda rng, n: np.stack([draw(rng, n), np.ones(n)], axis=1)


def pooled_dice(spread: float) -> Draw:
    """Shared and all nuclear pixels; the number of pixels of a patient is lognormal."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        pixels = rng.lognormal(0, spread, n)
        return np.stack([rng.beta(6, 2.5, n) * pixels, pixels], axis=1)

    return draw


def bpq(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sums of bPQ and tiles by organ: three organs in turn, patients differ, 1 to about 20 tiles a patient."""
    organ, tiles = np.arange(n) % 3, 1 + rng.negative_binomial(2, 0.2, n)
    means = np.array([0.3, 0.45, 0.6])[organ] + rng.normal(0, 0.08, n) + rng.normal(0, 0.15, n) / np.sqrt(tiles)
    member = organ[:, None] == np.arange(3)
    return np.concatenate([member * (means * tiles)[:, None], member * tiles[:, None]], axis=1)


def accuracy(rng: np.random.Generator, n: int) -> np.ndarray:
    """Correct tiles and all tiles; 90 % are correct, more in some patients than in others."""
    tiles = 1 + rng.negative_binomial(2, 0.2, n)
    return np.stack([rng.binomial(tiles, rng.beta(9, 1, n)), tiles], axis=1).astype(np.float64)


POPULATIONS: Final = {
    "mean, normal": Population(equal(lambda rng, n: rng.normal(0.5, 0.1, n)), 0.5, quotient),
    "mean, skewed, near 1": Population(equal(lambda rng, n: rng.beta(9, 1, n)), 0.9, quotient),
    "mean, skewed, near 0": Population(equal(lambda rng, n: rng.beta(1, 6, n)), 1 / 7, quotient),
    "mean, at both bounds": Population(equal(lambda rng, n: rng.beta(0.5, 0.5, n)), 0.5, quotient),
    "error, exponential": Population(equal(lambda rng, n: rng.exponential(1, n)), 1.0, quotient, "positive"),
    "paired difference, heavy tails": Population(
        equal(lambda rng, n: 0.1 * rng.standard_t(3, n)), 0.0, quotient, "real"
    ),
    "pooled Dice, similar patients": Population(pooled_dice(0.5), 6 / 8.5, quotient),
    "pooled Dice, a few large patients": Population(pooled_dice(1.0), 6 / 8.5, quotient),
    "bPQ, mean over three organs": Population(bpq, 0.45, organ_mean),
    "accuracy by tile, in patients": Population(accuracy, 0.9, quotient),
}


def percentile(statistic: Statistic, rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Ends of the percentile bootstrap over the rows."""
    n = len(rows)
    sampled = rng.integers(n, size=(RESAMPLES, n)) + n * np.arange(RESAMPLES)[:, None]
    times = np.bincount(sampled.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    low, high = np.nanquantile(statistic(times.astype(np.float64) @ rows), [0.025, 0.975])
    return float(low), float(high)


def lines(repetitions: int) -> Iterator[str]:
    """The table of coverages."""
    yield "| population | patients | coverage | width | percentile bootstrap | its width | no interval |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for name, population in POPULATIONS.items():
        for n in SIZES:
            rng = np.random.default_rng(0)
            ends = np.array([_ends(population, n, rng) for _ in range(repetitions)])
            has = ~np.isnan(ends[:, 0])
            covered = (ends[:, 0::2] <= population.value) & (population.value <= ends[:, 1::2])
            width = np.median(ends[has, 1::2] - ends[has, 0::2], axis=0)
            shares = covered[has, 0].mean(), covered[:, 1].mean()
            yield (
                f"| {name} | {n} | {shares[0]:.1%} | {width[0]:.3f} | {shares[1]:.1%} | {width[1]:.3f} "
                f"| {1 - has.mean():.1%} |"
            )


def _ends(population: Population, n: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    rows = population.draw(rng, n)
    found = interval_of_sums(population.statistic, rows, scale=population.scale)
    return (found.low, found.high, *percentile(population.statistic, rows, rng))


def cost(n_tiles: int = 2700) -> float:
    """Median ratio of the time of the percentile bootstrap to that of an interval, over `n_tiles` tiles."""
    rows, ratios = bpq(np.random.default_rng(0), n_tiles), []
    for _ in range(20):
        times = [time.process_time()]
        interval_of_sums(organ_mean, rows)
        times.append(time.process_time())
        percentile(organ_mean, rows, np.random.default_rng(0))
        times.append(time.process_time())
        ratios.append((times[2] - times[1]) / (times[1] - times[0]))
    return float(np.median(ratios))


def main() -> None:
    """Print the table and the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="draws of each population and size")
    args = parser.parse_args()
    print("\n".join(lines(args.repetitions)))
    print(f"\nOver 2,700 tiles, a percentile bootstrap takes {cost():.0f} times as long as an interval.")


if __name__ == "__main__":
    main()
