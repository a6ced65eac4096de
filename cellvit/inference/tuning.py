"""Watershed parameters from a grid, by AJI on validation tiles."""

from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Float64

from cellvit.config.judging import WatershedSettings
from cellvit.contracts.documents import Figure, GridPoint
from cellvit.hover.decode import HoverNetWatershed
from cellvit.metrics.intervals import bootstrap_mean

SEARCHED: Final = ("np_threshold", "hv_threshold", "min_object_px")
"""Parameters that the grid varies; the others keep their published values."""


def grid_of(settings: WatershedSettings) -> tuple[HoverNetWatershed, ...]:
    """Every combination of the listed values; the last list varies fastest."""
    return tuple(
        HoverNetWatershed(np_threshold=np_threshold, hv_threshold=hv_threshold, min_object_px=min_object_px)
        for np_threshold, hv_threshold, min_object_px in product(
            settings.np_threshold, settings.hv_threshold, settings.min_object_px
        )
    )


def searched_parameters(watershed: HoverNetWatershed) -> dict[str, float]:
    """The parameters of a grid point that the grid varies."""
    return {name: float(getattr(watershed, name)) for name in SEARCHED}


def ranked(
    grid: tuple[HoverNetWatershed, ...], aji: Float64[np.ndarray, "n p"], *, seed: int
) -> tuple[tuple[HoverNetWatershed, GridPoint], ...]:
    """Points of the grid with their mean AJI, best first; equal ones in the order of the grid, undefined ones last.

    Args:
        aji: AJI of each tile (row) with each point (column); NaN where undefined.
    """
    means = [bootstrap_mean(column, rng=np.random.default_rng(seed)) for column in aji.T]
    points = [
        (chosen, GridPoint(parameters=searched_parameters(chosen), aji=Figure(**mean._asdict())))
        for chosen, mean in zip(grid, means, strict=True)
    ]
    values = np.array([mean.value for mean in means])
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
    return tuple(points[place] for place in order)


def border_warnings(best: HoverNetWatershed, settings: WatershedSettings) -> tuple[str, ...]:
    """One line for each list of two or more values whose first or last value is best: a better one may lie beyond."""
    lines = []
    for name in SEARCHED:
        values, value = sorted(getattr(settings, name)), getattr(best, name)
        if len(values) < 2 or value not in (values[0], values[-1]):
            continue
        side = "smaller" if value == values[0] else "larger"
        lines.append(
            f"the best {name}, {value:g}, lies on the border of its list {[*values]}; add a {side} value to watershed.{name}"
        )
    return tuple(lines)
