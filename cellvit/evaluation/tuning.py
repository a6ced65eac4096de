"""Choice of decoding parameters on validation tiles: coarse to fine in the parameters and in the number of tiles.

Each method is searched on its own. The search starts at the listed values that are nearest to the defaults and moves to
better neighbours: first by whole steps of the lists on a sixteenth of the tiles, then by half steps on a sixth; a method
that is far behind after the first stage is left there. The best points are then compared on all tiles. Tiles are taken
evenly from each organ. On the tiles of one patient nothing is searched: what fits one patient best is worse for others than
the start (benchmarks/tuning_patients.py).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from cellvit.config.evaluation import SelectBy, WatershedSettings
from cellvit.evaluation.search import WHOLE_STEP, Position, Space, axes_of, climb
from cellvit.evaluation.selection import mean_value
from cellvit.evaluation.values import value_of
from cellvit.formats.documents import Value
from cellvit.formats.tiles import Groups
from cellvit.hover.decode import METHODS, Watershed
from cellvit.hover.parameters import Classical
from cellvit.metrics.intervals import interval_of_mean, interval_of_organ_mean

Point = TypeVar("Point")
Rows = Int64[np.ndarray, " r"]

SEARCHED: Final = MappingProxyType(
    {
        "hovernet": ("np_threshold", "hv_threshold", "min_object_px"),
        "hv_flow": ("np_threshold", "min_gain_px", "min_object_px", "min_fit"),
    }
)
"""Parameters of each method that are searched, named as their settings; the others have their defaults."""

CLASSICAL: Final = Space(
    Classical,
    axes_of(
        Classical,
        {
            "otsu_factor": (0.8, 1.0, 1.2),
            "min_object_px": (30, 60),
            "min_distance_px": (5, 8),
        },
    ),
)
"""Where the search for the parameters of the classical baseline starts; the others have their defaults."""

_STAGES: Final = ((WHOLE_STEP, 1 / 16, 16), (1, 1 / 6, 32))
"""Step, share of the tiles, and least number of tiles of each stage before the comparison on all tiles."""

_CLOSE: Final = 0.02
"""A method that is further behind the best after a stage is not searched on: twice the noise of a difference on 32 tiles."""

FINALISTS: Final = 4
"""Points that are compared on all tiles: with fewer, the noise of a part of the tiles decides."""

CLASSICAL_FINALISTS: Final = 2
"""Of the classical baseline, which takes three times as long for a point (10 ms per tile)."""


def spaces_of(settings: WatershedSettings) -> tuple[Space[Watershed], ...]:
    """Where each method of the settings is searched."""
    spaces: list[Space[Watershed]] = []
    for method in settings.method:
        listed = {name: getattr(settings, name) for name in SEARCHED[method]}
        spaces.append(Space(METHODS[method], axes_of(METHODS[method], listed)))
    return tuple(spaces)


class Trial(NamedTuple, Generic[Point]):
    """Points that are to be tried on the tile at `row`."""

    row: int
    points: tuple[Point, ...]


@dataclass(eq=False, slots=True)
class Trials(Generic[Point]):
    """Values of points on tiles; each pair of a point and a tile is computed once.

    Attributes:
        compute: Values of the points of each trial, in that order.
        organs: Organ of each tile.
        groups: Group of each tile; intervals are over groups.
    """

    select_by: SelectBy
    compute: Callable[[Sequence[Trial[Point]]], Iterable[Float64[np.ndarray, " p"]]]
    organs: Shaped[np.ndarray, " n"]
    groups: Groups = None
    _values: dict[Point, Float64[np.ndarray, " n"]] = field(default_factory=dict)
    _done: dict[Point, Shaped[np.ndarray, " n"]] = field(default_factory=dict)

    @property
    def of_one_patient(self) -> bool:
        """Whether all tiles are of one group, or there is one tile: nothing then shows whether a point is better for others."""
        return len(self.organs) < 2 if self.groups is None else len(np.unique(self.groups)) < 2

    @property
    def points(self) -> tuple[Point, ...]:
        """Every point that was tried, in order."""
        return tuple(self._values)

    def means(self, points: Sequence[Point], rows: Rows) -> Float64[np.ndarray, " p"]:
        """The metric of each point over the tiles at `rows`; NaN where undefined."""
        for point in points:
            self._values.setdefault(point, np.full(len(self.organs), np.nan))
            self._done.setdefault(point, np.zeros(len(self.organs), bool))
        # All points of a tile are decoded together, because they share steps of the decoding.
        missing = {row: tuple(point for point in dict.fromkeys(points) if not self._done[point][row]) for row in rows}
        trials = [Trial(int(row), new) for row, new in missing.items() if new]
        for trial, values in zip(trials, self.compute(trials), strict=True):
            for point, value in zip(trial.points, values, strict=True):
                self._values[point][trial.row], self._done[point][trial.row] = value, True
        return np.array([mean_value(self.select_by, self._values[point][rows], self.organs[rows]) for point in points])

    def covers(self, point: Point, rows: Rows) -> bool:
        """Whether the point was tried on all tiles at `rows`."""
        return point in self._done and bool(self._done[point][rows].all())

    def of(self, point: Point) -> Float64[np.ndarray, " n"]:
        """Value of a point on each tile; NaN where undefined, or where it was not tried."""
        return self._values[point]

    def value(self, point: Point) -> Value:
        """The metric of a point over the tiles on which it was tried, with its interval if those are all."""
        values = self._values[point]
        if not self._done[point].all():
            rows = np.flatnonzero(self._done[point])
            mean = mean_value(self.select_by, values[rows], self.organs[rows])
            return Value(value=mean, n=int(np.isfinite(values[rows]).sum()))
        if self.select_by == "aji":
            return value_of(interval_of_mean(values, groups=self.groups))
        return value_of(interval_of_organ_mean(values, self.organs, groups=self.groups))


class Place(NamedTuple, Generic[Point]):
    """Where the search is in a space."""

    space: Space[Point]
    position: Position


class Tried(NamedTuple, Generic[Point]):
    """A point that was tried, and its value."""

    point: Point
    value: Value


def tuned(
    spaces: Iterable[Space[Point]], trials: Trials[Point], *, finalists: int = FINALISTS
) -> tuple[Tried[Point], ...]:
    """Every point that was tried: those on all tiles first, best first; then the others in the order in which they were tried.

    With tiles of one patient, the start of each space is all that is tried.

    Args:
        finalists: Points that are compared on all tiles.
    """
    places = [Place(space, space.start) for space in spaces]
    everything = np.arange(len(trials.organs))
    found = [place.space.at(place.position) for place in places]
    if not trials.of_one_patient:
        found = _best_on_parts(places, trials)[:finalists]
    trials.means(found, everything)
    complete = [point for point in trials.points if trials.covers(point, everything)]
    ranked = _best_first(complete, trials.means(complete, everything))
    others = [point for point in trials.points if point not in complete]
    return tuple(Tried(point, trials.value(point)) for point in (*ranked, *others))


def _best_on_parts(places: list[Place[Point]], trials: Trials[Point]) -> list[Point]:
    """Points that were tried on the largest part of the tiles, best first: the search before the comparison on all tiles."""
    rows = np.arange(len(trials.organs))
    for step, share, least in _STAGES:
        rows = part_of_each_organ(trials.organs, share, least=least)
        score = partial(trials.means, rows=rows)
        places = [Place(space, climb(space, position, step, score)) for space, position in places]
        places = _contenders(places, score([place.space.at(place.position) for place in places]))
    known = [point for point in trials.points if trials.covers(point, rows)]
    return _best_first(known, trials.means(known, rows))


def part_of_each_organ(organs: Shaped[np.ndarray, " n"], share: float, *, least: int) -> Rows:
    """Rows of a share of the tiles, at least `least` (or all): evenly spaced among those of each organ, at least one.

    Examples:
        >>> part_of_each_organ(np.array(["Colon"] * 6 + ["Liver"] * 2), 0.5, least=1)
        array([1, 3, 5, 7])
    """
    share = min(1.0, max(share, least / max(len(organs), 1)))
    rows = []
    for organ in np.unique(organs):
        of_organ = np.flatnonzero(organs == organ)
        n = int(np.ceil(len(of_organ) * share))
        rows.append(of_organ[(2 * np.arange(n) + 1) * len(of_organ) // (2 * n)])
    return np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.int64)


def _contenders(places: list[Place[Point]], means: Float64[np.ndarray, " p"]) -> list[Place[Point]]:
    """The places that are not far behind the best one; all of them where none is defined."""
    best = np.nanmax(means) if np.isfinite(means).any() else math.nan
    return [place for place, mean in zip(places, means, strict=True) if not mean < best - _CLOSE]


def _best_first(points: Sequence[Point], means: Float64[np.ndarray, " p"]) -> list[Point]:
    """The points, best first; equal ones in their order, undefined ones last."""
    return [points[place] for place in np.argsort(np.where(np.isnan(means), np.inf, -means), kind="stable")]
