"""Choice of the decoding method and its parameters from a grid, by AJI on validation tiles."""

from itertools import product
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float64

from cellvit.config.evaluation import WatershedSettings
from cellvit.evaluation.values import value_of
from cellvit.formats.tiles import Groups
from cellvit.formats.watershed import GridPoint
from cellvit.hover.decode import METHODS, Watershed, method_of
from cellvit.metrics.intervals import interval_of_mean

SEARCHED: Final = MappingProxyType(
    {
        "hovernet": ("np_threshold", "hv_threshold", "min_object_px"),
        "hv_flow": ("np_threshold", "min_gain_px", "min_object_px", "min_fit"),
    }
)
"""Parameters that the grid of each method varies, named as their settings; the others have their defaults."""


def grid_of(settings: WatershedSettings) -> tuple[Watershed, ...]:
    """Every combination of the listed values of each method; the last list varies fastest."""
    return tuple(
        METHODS[method](**dict(zip(SEARCHED[method], values, strict=True)))
        for method in settings.method
        for values in product(*(getattr(settings, name) for name in SEARCHED[method]))
    )


def ranked(
    grid: tuple[Watershed, ...], aji: Float64[np.ndarray, "n p"], *, groups: Groups
) -> tuple[tuple[Watershed, GridPoint], ...]:
    """Points of the grid with their mean AJI, best first; equal ones in the order of the grid, undefined ones last.

    Args:
        aji: AJI of each tile (row) with each point (column); NaN where undefined.
        groups: Group of each tile; intervals are over groups.
    """
    means = [interval_of_mean(column, groups=groups) for column in aji.T]
    points = [
        GridPoint(
            method=method_of(point),
            parameters={name: getattr(point, name) for name in SEARCHED[method_of(point)]},
            aji=value_of(mean),
        )
        for point, mean in zip(grid, means, strict=True)
    ]
    values = np.array([mean.value for mean in means])
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
    return tuple((grid[place], points[place]) for place in order)


def border_warnings(best: Watershed, settings: WatershedSettings) -> tuple[str, ...]:
    """One line for each list of two or more values whose first or last value is best: a better one may be outside."""
    lines = []
    for name in SEARCHED[method_of(best)]:
        values, value = sorted(getattr(settings, name)), getattr(best, name)
        if len(values) < 2 or value not in (values[0], values[-1]) or value in (0, 1):
            continue  # no parameter goes below 0, and no share above 1
        side = "smaller" if value == values[0] else "larger"
        lines.append(
            f"the best {name}, {value:g}, is at the border of its list {[*values]}; add a {side} value to watershed.{name}"
        )
    return tuple(lines)
