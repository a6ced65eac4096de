"""Outlines of nuclei: traced from an instance map by marching squares at half pixels, and as polygons.

References:
    Lorensen and Cline 1987, Marching cubes (in two dimensions: marching squares, at the level 0.5 of each nucleus).
    Wyllie 1979, The complexity of parallel computations (the ranks of a linked list by doubling its pointers).
"""

from typing import Final, NamedTuple

import numpy as np
import shapely
from jaxtyping import Float64, Int32, Int64

from cellvit.formats.nuclei import NucleiTable, Outlines

DECIMALS: Final = 2
"""Decimals of written coordinates: a hundredth of a pixel is far below the precision of an outline."""

_POLYGON: Final = 3
"""Number of this type in GEOS."""

_OUTWARD: Final = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])
"""Steps (x, y) from a pixel to its upper, right, lower and left neighbour; the step along the outline at one of these sides is
the next one of the list, so that the nucleus is on the right hand."""


Geometries = np.ndarray
"""An array of shapely geometries, one for each nucleus."""


class _Cycles(NamedTuple):
    """Corners of all rings, each with its successor.

    Attributes:
        points: x and y in half pixels of the map; corners at upper sides come first, by row and column.
        following: The next corner of the ring.
        nucleus: Label of the nucleus less one.
    """

    points: Int32[np.ndarray, "v 2"]
    following: Int64[np.ndarray, " v"]
    nucleus: Int64[np.ndarray, " v"]


def traced(instances: Int32[np.ndarray, "h w"], n_nuclei: int, *, left: int = 0, top: int = 0) -> Outlines:
    """Outlines of the nuclei 1..n_nuclei of an instance map whose first pixel lies at (left, top) of the image.

    Pixels of a nucleus that share a corner only are connected, unless two nuclei cross there: then the one from the upper left
    to the lower right is. So the outlines of a map do not overlap. Labels above `n_nuclei` are not traced, but count there.

    Args:
        instances: Labels, 0 is background.

    Examples:
        >>> traced(np.array([[1]], np.int32), 1, left=3).points.tolist()  # in half pixels
        [[7, 0], [8, 1], [7, 2], [6, 1]]
    """
    cycles = _cycles(instances, n_nuclei)
    ring, position, sizes = _ranked(cycles.following)
    first = np.flatnonzero(position == 0)  # first corner of each ring

    # Signed area of each ring: positive if its inside is on the right hand.
    here, there = cycles.points.astype(np.int64), cycles.points[cycles.following].astype(np.int64)
    twice_area = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    is_hole = np.bincount(ring, twice_area, len(first)) < 0
    nucleus = cycles.nucleus[first]

    # Write the rings in their order: by nucleus, and holes after what contains them.
    order = np.lexsort((is_hole, nucleus))
    starts = np.empty(len(order), np.int64)
    starts[order] = np.cumsum(sizes[order]) - sizes[order]
    place = np.empty(len(ring), np.int64)
    place[starts[ring] + position] = np.arange(len(ring))
    # Leave out corners at which the direction stays the same.
    step = there - here
    before = np.empty_like(step)
    before[cycles.following] = step
    place = place[(step != before).any(axis=1)[place]]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    kept = np.bincount(rank[ring[place]], minlength=len(order))
    outlines = Outlines(
        points=(cycles.points[place] + np.array([2 * left, 2 * top])).astype(np.int32),
        ring_starts=np.concatenate([[0], np.cumsum(kept)]).astype(np.int64),
        ring_nucleus=nucleus[order],
        ring_is_hole=is_hole[order],
    )
    return _holes_in_place(outlines)


def polygons(table: NucleiTable, *, scale: float) -> Geometries:
    """Outlines as shapely geometries in level-0 px, rounded to two decimals and valid; of several parts: a MultiPolygon.

    Args:
        scale: Level-0 px for each px of the model.
    """
    found = polygons_at(table.outlines, np.round(table.outlines.points * (scale / 2), DECIMALS))
    for place in np.flatnonzero(~shapely.is_valid(found)):  # rings that touch may cross after rounding
        found[place] = _polygonal(shapely.set_precision(_polygonal(shapely.make_valid(found[place])), 10.0**-DECIMALS))
    return found


def polygons_at(outlines: Outlines, points: Float64[np.ndarray, "p 2"] | Int32[np.ndarray, "p 2"]) -> Geometries:
    """One shapely geometry for each nucleus, with corners at these points in place of its own."""
    if not len(outlines.ring_nucleus):
        return np.empty(0, object)
    corners = np.diff(outlines.ring_starts)
    rings = shapely.linearrings(points.astype(np.float64), indices=np.repeat(np.arange(len(corners)), corners))
    is_outer = ~outlines.ring_is_hole
    parts: Geometries = shapely.polygons(
        rings, indices=np.cumsum(is_outer) - 1
    )  # the first ring of each index is the outer one
    nucleus = outlines.ring_nucleus[is_outer]
    if len(nucleus) == nucleus[-1] + 1:
        return parts
    found = np.array(shapely.multipolygons(parts, indices=nucleus))
    single = np.bincount(nucleus) == 1
    found[single] = parts[single[nucleus]]
    return found


def outlines_of(geometries: Geometries) -> Outlines:
    """Outlines of polygons and MultiPolygons whose coordinates are whole half pixels; the inverse of `polygons_at`."""
    normal = shapely.normalize(geometries)  # a start and a direction that do not depend on how a geometry was computed
    parts, nucleus = shapely.get_parts(normal, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    is_last = np.append(ring[1:] != ring[:-1], True)[: len(ring)]
    sizes = np.bincount(ring, minlength=len(rings)) - 1
    is_first_ring = np.append(True, part[1:] != part[:-1])[: len(part)]
    return Outlines(
        points=np.round(points[~is_last]).astype(np.int32),
        ring_starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        ring_nucleus=nucleus[part].astype(np.int64),
        ring_is_hole=~is_first_ring,
    )


def _cycles(instances: Int32[np.ndarray, "h w"], n_nuclei: int) -> _Cycles:
    """One corner between every pixel of a nucleus and every neighbour (of four) outside it."""
    width = instances.shape[1] + 2
    framed = np.pad(instances, 1).reshape(-1)
    inside = np.flatnonzero((framed - 1).view(np.uint32) < n_nuclei)  # as unsigned, the background is the largest
    outward = _OUTWARD @ np.array([1, width])
    pixels = [inside[framed[inside] != framed[inside + step]] for step in outward]
    pixel, side = np.concatenate(pixels), np.repeat(np.arange(4), [len(one) for one in pixels])
    number = np.empty((len(framed), 4), np.int32)
    number[pixel, side] = np.arange(len(pixel))

    # Of the two pixels ahead, one continues the inside and one the outside; turn where they do not.
    out, along = outward[side], outward[(side + 1) % 4]
    label, straight, across = framed[pixel], framed[pixel + along], framed[pixel + along + out]
    crossing = (straight > 0) & (straight != label) & (straight == framed[pixel + out])
    to_left = (across == label) & ~(
        crossing & (side % 2 == 0)
    )  # sides 0 and 2 look to the upper right and the lower left
    to_right = ~to_left & (straight != label)
    next_pixel = pixel + np.where(to_right, 0, along) + np.where(to_left, out, 0)
    next_side = (side + np.where(to_left, 3, to_right)) % 4
    y, x = np.divmod(pixel, width)
    points = 2 * np.stack([x, y], axis=1) - 1 + _OUTWARD[side]
    return _Cycles(points.astype(np.int32), number[next_pixel, next_side].astype(np.int64), label.astype(np.int64) - 1)


def _ranked(
    following: Int64[np.ndarray, " v"],
) -> tuple[Int64[np.ndarray, " v"], Int64[np.ndarray, " v"], Int64[np.ndarray, " r"]]:
    """Number of the ring of each corner, its position in that ring, and the number of corners of each ring.

    The first corner of a ring is the one with the smallest number.
    """
    # The smallest number among the next 1, 2, 4, ... corners, until it is that of the whole ring.
    first, pointer = np.minimum(np.arange(len(following)), following), following[following]
    while not np.array_equal(smaller := np.minimum(first, first[pointer]), first):
        first, pointer = smaller, pointer[pointer]
    leaders, ring = np.unique(first, return_inverse=True)
    # Steps to the first corner, which points to itself, by doubling pointers.
    steps, pointer = np.ones(len(following), np.int64), following.copy()
    steps[leaders], pointer[leaders] = 0, leaders
    while (more := steps[pointer]).any():
        steps, pointer = steps + more, pointer[pointer]
    sizes = np.bincount(ring, minlength=len(leaders))
    return ring, np.where(steps > 0, sizes[ring] - steps, 0), sizes


def _holes_in_place(outlines: Outlines) -> Outlines:
    """Move holes behind the part that contains them, for the few nuclei of several parts."""
    n_nuclei = int(outlines.ring_nucleus.max(initial=-1)) + 1
    n_holes = np.bincount(outlines.ring_nucleus[outlines.ring_is_hole], minlength=n_nuclei)
    n_parts = np.bincount(outlines.ring_nucleus[~outlines.ring_is_hole], minlength=n_nuclei)
    several = np.flatnonzero((n_holes > 0) & (n_parts > 1))
    if not len(several):
        return outlines
    rings = np.split(outlines.points, outlines.ring_starts[1:-1])
    order = np.arange(len(rings)).astype(np.float64)
    for nucleus in several:
        own = np.flatnonzero(outlines.ring_nucleus == nucleus)
        parts = [ring for ring in own if not outlines.ring_is_hole[ring]]
        for hole in own[outlines.ring_is_hole[own]]:
            around = [ring for ring in parts if shapely.contains_xy(shapely.Polygon(rings[ring]), *rings[hole][0])]
            innermost = min(around, key=lambda ring: shapely.Polygon(rings[ring]).area)
            order[hole] = innermost + (hole + 1) / (len(rings) + 1)
    places = np.argsort(order, kind="stable")
    return Outlines(
        points=np.concatenate([rings[place] for place in places]),
        ring_starts=np.concatenate([[0], np.cumsum(np.diff(outlines.ring_starts)[places])]).astype(np.int64),
        ring_nucleus=outlines.ring_nucleus[places],
        ring_is_hole=outlines.ring_is_hole[places],
    )


def _polygonal(geometry: shapely.Geometry) -> shapely.Geometry:
    """The polygons of a geometry, without lines and points."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    found = [part for part in parts if shapely.get_type_id(part) == _POLYGON]
    return found[0] if len(found) == 1 else shapely.MultiPolygon(found)
