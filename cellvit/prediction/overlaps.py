"""Which candidates of different windows overlap, and by how much."""

from typing import NamedTuple, Self

import numpy as np
import shapely
from jaxtyping import Bool, Float64, Int64

from cellvit.formats.nuclei import NucleiTable
from cellvit.prediction.outlines import Geometries


class Overlaps(NamedTuple):
    """Pairs of candidates of different windows.

    Attributes:
        better, worse: Positions of both in the table; which of them is better decides a rank.
        shared: Area that both cover, in quarters of a pixel (the unit of coordinates is half a pixel).
    """

    better: Int64[np.ndarray, " k"]
    worse: Int64[np.ndarray, " k"]
    shared: Float64[np.ndarray, " k"]

    def where(self, chosen: Bool[np.ndarray, " k"]) -> Self:
        """Some of the pairs."""
        return type(self)(self.better[chosen], self.worse[chosen], self.shared[chosen])

    def ranked(self, rank: Int64[np.ndarray, " n"]) -> Self:
        """The same pairs, each with the candidate of the smaller rank as the better one."""
        swapped = rank[self.better] > rank[self.worse]
        better, worse = np.where(swapped, self.worse, self.better), np.where(swapped, self.better, self.worse)
        return type(self)(better, worse, self.shared)


def touching_boxes(table: NucleiTable) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Positions of all pairs of candidates of different windows whose bounding boxes touch, each pair once."""
    first_ring = np.searchsorted(table.outlines.ring_nucleus, np.arange(len(table)))
    starts = table.outlines.ring_starts[first_ring]
    low = np.minimum.reduceat(table.outlines.points, starts, axis=0)
    high = np.maximum.reduceat(table.outlines.points, starts, axis=0)
    boxes = shapely.box(*low.T, *high.T)
    one, other = shapely.STRtree(boxes).query(boxes)
    distinct = (table.row[one] != table.row[other]) | (table.column[one] != table.column[other])
    kept = distinct & (one < other)
    return one[kept], other[kept]


def connected(
    start: Bool[np.ndarray, " n"], one: Int64[np.ndarray, " k"], other: Int64[np.ndarray, " k"], *, steps: int
) -> Bool[np.ndarray, " n"]:
    """Candidates that at most so many pairs connect with those of `start`, themselves among them."""
    reached = start.copy()
    for _ in range(steps):
        ahead = np.concatenate([other[reached[one]], one[reached[other]]])
        if reached[ahead].all():
            break
        reached[ahead] = True
    return reached


def overlaps_of(geometries: Geometries, one: Int64[np.ndarray, " k"], other: Int64[np.ndarray, " k"]) -> Overlaps:
    """The pairs that share an area."""
    # Most pairs are one nucleus that two windows show alike; to compare corners takes a hundredth of the time.
    equal = shapely.equals_exact(geometries[one], geometries[other])
    shared = shapely.area(geometries[one])
    shared[~equal] = shapely.area(shapely.intersection(geometries[one[~equal]], geometries[other[~equal]]))
    return Overlaps(one, other, shared).where(shared > 0)
