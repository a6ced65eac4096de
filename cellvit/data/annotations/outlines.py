"""From outlines, polygons in pixels of the image, to its annotation."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import shapely
from jaxtyping import Float64

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.assembly import Reading, Role, Shape, assemble
from cellvit.data.annotations.bounded import shown
from cellvit.data.annotations.pixels import pixels_inside
from cellvit.errors import ContractError

LARGEST_COORDINATE: Final = 10_000_000
"""In pixels; the largest slides have some 300,000."""

_POLYGON: Final = 3
"""Number of this type in GEOS."""

_FEWEST_POINTS: Final = 3

Ring = Float64[np.ndarray, "n 2"]


class Part(NamedTuple):
    """A polygon: its outer outline and its holes, each closed or open, x before y."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """A nucleus or region as its file has it.

    Attributes:
        parts: Its polygons, in the coordinates of the file; together they are one nucleus.
        name: Its class; empty if it has none.
        role: What it encloses, where the file says so; else its class decides.
    """

    parts: tuple[Part, ...]
    name: str
    role: Role | None = None


def ring_of(points: object, path: Path, where: str) -> Ring:
    """Points of a ring from a file, (n, 2) or with further columns that are left out.

    Raises:
        ContractError: They are not finite numbers, or too large to be pixels.
    """
    try:
        ring = np.asarray(points)
    except ValueError as error:  # rows of different length
        raise _not_points(points, path, where) from error
    if ring.size == 0:
        return np.zeros((0, 2))
    if ring.ndim != 2 or ring.shape[1] < 2 or ring.dtype.kind not in "iuf":
        raise _not_points(points, path, where)
    ring = ring[:, :2].astype(np.float64)
    wrong = ring[~(np.abs(ring) <= LARGEST_COORDINATE)]  # in this form, NaN is wrong too
    if wrong.size:
        raise ContractError(
            f"{path}: {where}: expected coordinates in pixels, up to {LARGEST_COORDINATE:,}, found {wrong[0]:g}. "
            "Fix: export the outlines in pixels of the image."
        )
    return ring


def annotation_of(outlines: Iterable[Outline], reading: Reading) -> Annotation:
    """The annotation of an image from outlines in the order of the file; docs/outlines.md has the rules.

    Raises:
        ContractError: An outline cannot be repaired, or a region is missing that the options name.
    """
    return assemble(shapes_of(outlines, reading), reading)


def shapes_of(outlines: Iterable[Outline], reading: Reading) -> Iterator[Shape]:
    """Pixels of outlines in the image; nuclei that have none are left out and counted.

    Raises:
        ContractError: An outline cannot be repaired.
    """
    size = np.array(reading.shape[::-1])
    for outline in outlines:
        role = outline.role or reading.role_of(outline.name)
        parts = _in_image(outline.parts, reading)
        points = np.concatenate([np.zeros((0, 2)), *(part.outer for part in parts)])
        low, high = points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)
        if role == "nucleus" and len(points) and ((high <= 0) | (low >= size)).any():
            reading.counts["outside"] += 1
            continue
        area = _area(parts, reading)
        if area.is_empty:
            reading.counts["degenerate"] += 1
            continue
        pixels = pixels_inside(area, reading.shape)
        if role == "nucleus":
            is_cut = bool(((low < 0) | (high > size)).any())
            if not pixels.n:
                reading.counts["outside" if is_cut else "too_small"] += 1
                continue
            reading.counts["cut_by_border"] += is_cut
            reading.counts["several_parts"] += len(parts) > 1
            reading.counts["holes"] += any(part.holes for part in parts)
        yield Shape(pixels, outline.name, role)


def area_of(outline: Outline, reading: Reading) -> shapely.Geometry:
    """What an outline encloses in pixels of the image, valid; empty if it encloses nothing.

    Raises:
        ContractError: The outline cannot be repaired.
    """
    return _area(_in_image(outline.parts, reading), reading)


def polygonal(rings: Sequence[Ring]) -> shapely.Geometry:
    """The area that an odd number of the rings enclose."""
    area = shapely.MultiPolygon()
    for ring in _usable(rings):
        area = area.symmetric_difference(_valid(shapely.Polygon(ring)))
    return area


def _not_points(points: object, path: Path, where: str) -> ContractError:
    return ContractError(
        f"{path}: {where}: expected points as [[x, y], ...] in pixels, found {shown(points)}. Fix: export the file again."
    )


def _in_image(parts: Sequence[Part], reading: Reading) -> list[Part]:
    """The parts in coordinates of the image; an outer outline without an area is left out."""
    offset = np.array(reading.place.offset, np.float64)
    moved = (Part(part.outer - offset, tuple(hole - offset for hole in part.holes)) for part in parts)
    return [part for part in moved if _usable([part.outer])]


def _area(parts: Sequence[Part], reading: Reading) -> shapely.Geometry:
    """What the parts enclose together, valid; empty if they enclose nothing."""
    areas, sound = [], True
    try:
        for part in parts:
            [outer], holes = _usable([part.outer]), _usable(part.holes)
            area = shapely.Polygon(outer, holes)
            if not area.is_valid:
                sound = False
                # Hole by hole: repaired as one, a hole outside the outline would become a part of the nucleus.
                area = _valid(shapely.Polygon(outer))
                for hole in holes:
                    area = area.difference(_valid(shapely.Polygon(hole)))
            areas.append(area)
        whole = areas[0] if len(areas) == 1 else shapely.union_all(areas)
    except shapely.errors.ShapelyError as error:
        raise ContractError(
            f"{reading.path}: the outline near {parts[0].outer[0]} cannot be repaired: {error}. Fix: draw it again."
        ) from error
    reading.counts["repaired"] += not sound and not whole.is_empty
    return whole


def _usable(rings: Sequence[Ring]) -> list[Ring]:
    """The rings with enough points to enclose an area, without a last point that repeats the first."""
    opened = (ring[:-1] if len(ring) and (ring[0] == ring[-1]).all() else ring for ring in rings)
    return [ring for ring in opened if len(ring) >= _FEWEST_POINTS]


def _valid(polygon: shapely.Polygon) -> shapely.Geometry:
    """The area of a polygon that may cross itself: what its line encloses an odd number of times."""
    if polygon.is_valid:
        return polygon
    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(polygon)))
    return shapely.MultiPolygon([part for part in parts if shapely.get_type_id(part) == _POLYGON])
