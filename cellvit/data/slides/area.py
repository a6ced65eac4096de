"""The part of a slide that is analysed: the whole, a rectangle, regions of a file, or the tissue (`tissue.tissue_of`)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from jaxtyping import Bool, Float64

from cellvit.data.annotations.bounded import read_json, shown
from cellvit.data.annotations.geojson import features_of
from cellvit.data.annotations.outlines import ring_of
from cellvit.data.slides.slide import Slide
from cellvit.errors import ContractError, MissingInputError, SettingsError
from cellvit.formats.atomic import write_text

AREA_CLASS: Final = "Analysed area"
"""Class of the annotations in area.geojson, in QuPath."""

_DECIMALS: Final = 2
_COLOUR: Final = (0, 158, 115)
_EXAMPLE: Final = "Fix: --region X,Y,WIDTH,HEIGHT in px of the full resolution, for example --region 0,0,4000,3000"

_DRAW: Final = (
    "Fix: draw the regions in QuPath as annotations (rectangle, polygon, brush or wand), select them, and export them by "
    "File > Export objects as GeoJSON."
)
_DETECTIONS: Final = ("detection", "cell", "tile", "PathDetectionObject", "PathCellObject", "PathTileObject")
"""Types of QuPath's objects that are no regions which somebody drew."""


@dataclass(frozen=True)
class Area:
    """The analysed part of a slide.

    Attributes:
        geometry: Polygons inside the slide, in px of level 0: the first px covers 0 to 1. Empty if nothing is analysed.
        how: How it was chosen, in words for the report.
    """

    geometry: shapely.Geometry
    how: str

    def __post_init__(self) -> None:
        shapely.prepare(self.geometry)

    def area_mm2(self, mpp: float) -> float:
        """Size in square millimetres; `mpp` is that of level 0."""
        return float(self.geometry.area) * mpp**2 / 1e6

    def contains(self, x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which points lie inside or on the border."""
        return np.asarray(shapely.intersects_xy(self.geometry, x, y))

    def meets(self, boxes: Float64[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
        """Which boxes (left, top, right, bottom) have a part inside; a common border is none."""
        shapes = shapely.box(*np.asarray(boxes, np.float64).T)
        return np.asarray(shapely.intersects(self.geometry, shapes) & ~shapely.touches(self.geometry, shapes))


def whole(slide: Slide) -> Area:
    """All of the slide."""
    return Area(frame_of(slide), "the whole image")


def region(slide: Slide, text: str) -> Area:
    """A rectangle "x,y,width,height" in px of level 0, cut at the border of the slide.

    Raises:
        SettingsError: The text is not four whole numbers, or the rectangle lies outside of the slide.
    """
    parts = text.split(",")
    try:
        x, y, width, height = (int(part) for part in parts)
    except ValueError as error:
        raise SettingsError(f"--region: expected four whole numbers, found {text!r}. {_EXAMPLE}") from error
    if width < 1 or height < 1:
        raise SettingsError(f"--region: expected a width and a height of at least 1 px, found {text!r}. {_EXAMPLE}")
    inside = polygons_only(shapely.intersection(shapely.box(x, y, x + width, y + height), frame_of(slide)))
    if inside.is_empty:
        raise SettingsError(
            f"--region: expected a rectangle on {slide.path}, which has {slide.width:,} x {slide.height:,} px, found {text!r}, "
            f"which lies outside. {_EXAMPLE}"
        )
    cut = "" if inside.area == width * height else ", cut at the border of the image"
    return Area(inside, f"the region {x},{y},{width},{height} (left, top, width, height in px){cut}")


def regions_of(path: Path, slide: Slide) -> Area:
    """The polygons of a GeoJSON file, as QuPath exports annotations, together and cut at the border of the slide.

    Points, lines and detections are left out.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not GeoJSON, has no polygons, or one lies outside of the slide.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: this file of regions does not exist. Fix: correct its name. {_DRAW}")
    frame, inside, is_cut = frame_of(slide), [], False
    for number, feature in enumerate(features_of(read_json(path), path)):
        if (feature.get("properties") or {}).get("objectType", feature.get("id")) in _DETECTIONS:
            continue
        drawn = shapely.union_all(list(_polygons(feature.get("geometry"), path, f"feature {number}")))
        part = polygons_only(shapely.intersection(drawn, frame))
        if part.is_empty and not drawn.is_empty:
            raise ContractError(
                f"{path}: feature {number}: expected a region on {slide.path}, which has {slide.width:,} x {slide.height:,} px, "
                f"found x {drawn.bounds[0]:.0f} to {drawn.bounds[2]:.0f}, y {drawn.bounds[1]:.0f} to {drawn.bounds[3]:.0f}. "
                "Fix: is the file that of another image? Coordinates are px of the full resolution."
            )
        if not part.is_empty:
            inside.append(part)
            is_cut |= part.area < drawn.area * (1 - 1e-9)
    if not inside:
        raise ContractError(f"{path}: expected polygons, rectangles or other regions, found none. {_DRAW}")
    cut = ", cut at the border of the image" if is_cut else ""
    return Area(polygons_only(shapely.union_all(inside)), f"{len(inside)} regions of {path.name}{cut}")


def write_area(path: Path, area: Area) -> None:
    """Write the area as GeoJSON: one locked annotation for each of its parts, which QuPath opens and --regions reads."""
    parts = shapely.get_parts(area.geometry)
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shapely.set_precision(part, 10.0**-_DECIMALS)),
            "properties": {
                "objectType": "annotation",
                "name": f"Analysed area: {area.how}",
                "classification": {"name": AREA_CLASS, "color": list(_COLOUR)},
                "isLocked": True,
            },
        }
        for part in parts
    ]
    write_text(path, json.dumps({"type": "FeatureCollection", "features": features}) + "\n")


def frame_of(slide: Slide) -> shapely.Geometry:
    """The rectangle of the whole slide."""
    return shapely.box(0, 0, slide.width, slide.height)


def polygons_only(geometry: shapely.Geometry) -> shapely.Geometry:
    """The polygons of a geometry, without the points and lines that cutting can leave."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    polygons = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _polygons(geometry: object, path: Path, where: str) -> Iterator[shapely.Geometry]:
    """Valid polygons of a GeoJSON geometry."""
    match geometry:
        case {"type": "Polygon", "coordinates": list(rings)}:
            yield _polygon(rings, path, where)
        case {"type": "MultiPolygon", "coordinates": list(polygons)}:
            yield from (_polygon(rings, path, where) for rings in polygons)
        case {"type": "GeometryCollection", "geometries": list(geometries)}:
            for part in geometries:
                yield from _polygons(part, path, where)
        case None | {"type": str()}:
            return
        case other:
            raise ContractError(f"{path}: {where}: expected a geometry with type, found {shown(other)}. {_DRAW}")


def _polygon(rings: Any, path: Path, where: str) -> shapely.Geometry:
    if not isinstance(rings, list) or not rings:
        raise ContractError(f"{path}: {where}: expected a list of rings, found {shown(rings)}. {_DRAW}")
    outer, *holes = [ring_of(ring, path, where) for ring in rings]
    if len(outer) < 3:
        return shapely.Polygon()
    polygon = shapely.Polygon(outer, [hole for hole in holes if len(hole) >= 3])
    return polygons_only(shapely.make_valid(polygon, method="structure", keep_collapsed=False))
