"""Coarse-to-fine search for parameters: between the listed values of each, and beyond them.

References:
    Kolda, Lewis and Torczon, Optimization by direct search, SIAM Review 45 (2003): compass search.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from jaxtyping import Float64

from cellvit.hover.parameters import LIMITS

Parameters = TypeVar("Parameters")

Position = tuple[int, ...]
"""Place in a space: for each axis the number of half steps from the first value of its list."""

WHOLE_STEP: Final = 2
"""From a value of a list to the next one, in half steps."""

_MOVES: Final = 12
"""Moves of one climb, at most: more than the lists of all parameters have values."""

_WORTH: Final = 1e-3
"""A move must gain at least this much: smaller gains are noise, and following them takes most of the time."""

_DIGITS: Final = 4
"""Significant digits of a parameter between two listed values."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter and the values from which the search starts.

    Attributes:
        values: In ascending order. Beyond them, steps are as large as the last one; sizes (in pixels, or a multiple of
            something) change by ratios, probabilities and shares by differences.
        whole: Whether the parameter is a whole number.
    """

    name: str
    values: tuple[float, ...]
    whole: bool

    def at(self, half_steps: int) -> float:
        """Value at a place, within the limits of the parameter."""
        place, is_between = divmod(half_steps, WHOLE_STEP)
        value = self._value(place)
        if not is_between and value in self.values:
            return value  # as listed
        if is_between:
            other = self._value(place + 1)
            value = math.sqrt(value * other) if self._by_ratio else (value + other) / 2
        low, high = LIMITS[self.name]
        value = min(max(value, low), high)
        return round(value) if self.whole else float(f"{value:.{_DIGITS}g}")

    def nearest(self, value: float) -> int:
        """Place of the listed value that is nearest to `value`."""
        return WHOLE_STEP * min(range(len(self.values)), key=lambda place: abs(self.values[place] - value))

    @property
    def _by_ratio(self) -> bool:
        return self.name.endswith(("_px", "_factor")) and self.values[0] > 0

    def _value(self, place: int) -> float:
        inside = min(max(place, 0), len(self.values) - 1)
        value, beyond = self.values[inside], place - inside
        if not beyond:
            return value
        first, second = self.values[:2] if beyond < 0 else self.values[-2:]
        return value * (second / first) ** beyond if self._by_ratio else value + beyond * (second - first)


@dataclass(frozen=True, slots=True)
class Space(Generic[Parameters]):
    """Sets of parameters of one kind; those without an axis have their defaults, those with one value never change."""

    kind: type[Parameters]
    axes: tuple[Axis, ...]

    def at(self, position: Position) -> Parameters:
        """The parameters at a position."""
        named = zip(self.axes, position, strict=True)
        return self.kind(**{axis.name: axis.at(half_steps) for axis, half_steps in named})

    @property
    def start(self) -> Position:
        """The listed values that are nearest to the defaults."""
        defaults = self.kind()
        return tuple(axis.nearest(getattr(defaults, axis.name)) for axis in self.axes)

    def neighbours(self, position: Position, step: int) -> Iterator[Position]:
        """Positions that differ by `step` half steps along one axis, in the order of the axes, the smaller value first."""
        for place, axis in enumerate(self.axes):
            for change in (-step, step) if len(axis.values) > 1 else ():
                moved = position[place] + change
                if axis.at(moved) != axis.at(position[place]):  # at a limit, there is nowhere to go
                    yield (*position[:place], moved, *position[place + 1 :])


def axes_of(kind: type, values: dict[str, Sequence[float]]) -> tuple[Axis, ...]:
    """An axis for each parameter of `values`, which are parameters of `kind`."""
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    return tuple(Axis(name, tuple(sorted(set(listed))), types[name] is int) for name, listed in values.items())


def climb(
    space: Space[Parameters],
    start: Position,
    step: int,
    score: Callable[[Sequence[Parameters]], Float64[np.ndarray, " p"]],
) -> Position:
    """Move to the best neighbour until none is clearly better than the best so far; undefined scores (NaN) never are.

    In each round, the position that moves along every axis that alone is better is tried too: parameters that depend
    little on each other are then found together.
    """
    best = start
    for _ in range(_MOVES):
        around = [best, *space.neighbours(best, step)]
        values = _comparable(score([space.at(position) for position in around]))
        if not values.max() > values[0] or values.max() < values[0] + _WORTH:
            return best
        diagonal = _together(best, around, values)
        found = around[int(values.argmax())]
        together = _comparable(score([space.at(found), space.at(diagonal)]))
        best = diagonal if together[1] > together[0] else found
    return best


def _together(start: Position, around: Sequence[Position], values: Float64[np.ndarray, " p"]) -> Position:
    """The position after the best move along each axis that has one which is better than none."""
    moved = list(start)
    gain = [float(values[0])] * len(start)
    for position, value in zip(around, values, strict=True):
        for axis, (before, after) in enumerate(zip(start, position, strict=True)):
            if before != after and value > gain[axis]:
                gain[axis], moved[axis] = float(value), after
    return tuple(moved)


def _comparable(values: Float64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
    return np.where(np.isnan(values), -np.inf, values)
