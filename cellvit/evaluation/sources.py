"""Values by the source of the test tiles, and the gap between sources that trained a decoder and those that did not."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from cellvit.evaluation.values import map_sums_of, map_values, segmentation_values, value_of
from cellvit.formats.documents import Value, Values
from cellvit.formats.evaluations import SourceValues
from cellvit.formats.tile_table import TileScores
from cellvit.metrics.intervals import Interval, Scale, interval_of_difference

_OF_NUCLEI: Final = ("aji", "bpq", "mpq", "detection_f1", "boundary_um")
_OF_MAPS: Final = ("np_dice", "nt_accuracy")

SOURCE_METRICS: Final = (*_OF_NUCLEI, *_OF_MAPS)
"""Metrics that are reported by source."""


def values_by_source(tiles: TileScores, trained_on: Sequence[str]) -> SourceValues | None:
    """Values of a system with maps on the tiles of each source; None if no tile names its source.

    Args:
        trained_on: Sources of the tiles that trained the system; "" stands for tiles that name none.
    """
    source = np.array(tiles.text("source"), dtype=np.str_)
    states = {name: _state(name, trained_on) for name in sorted({*source.tolist()} - {""})}
    if not states:
        return None
    parts = {name: tiles.where(source == name) for name in states}
    sides = [
        tiles.where(np.isin(source, [name for name, state in states.items() if state == side]))
        for side in ("seen", "unseen")
    ]
    return SourceValues(
        trained_on=states,
        n_tiles={name: len(part) for name, part in parts.items()},
        values={name: _values(part) for name, part in parts.items()},
        gaps=_gaps(*sides) if all(map(len, sides)) else {},
    )


def _state(source: str, trained_on: Sequence[str]) -> Literal["seen", "unseen", "unknown"]:
    if source in trained_on:
        return "seen"
    return "unknown" if "" in trained_on else "unseen"


def _values(tiles: TileScores) -> Values:
    of_maps = map_values(map_sums_of(tiles), groups=tiles.groups)
    return segmentation_values(tiles, _OF_NUCLEI) | {name: of_maps[name] for name in _OF_MAPS}


def _gaps(seen: TileScores, unseen: TileScores) -> Values:
    """Differences of the values; without interval if a patient has tiles on both sides, which are then not independent."""
    both = set(seen.text("patient")) & set(unseen.text("patient")) - {""}
    first, second = _values(seen), _values(unseen)
    found = {name: _difference(name, first[name], second[name]) for name in first}
    if not both:
        return found
    return {name: Value(value=value.value, n=value.n) for name, value in found.items()}


def _difference(name: str, first: Value, second: Value) -> Value:
    scale: Scale = "positive" if name == "boundary_um" else "share"
    return value_of(interval_of_difference(Interval(**dict(first)), Interval(**dict(second)), scale=scale))
