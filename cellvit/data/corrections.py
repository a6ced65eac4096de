"""Corrected predictions of a slide -> annotated images, cut at the resolution of the model.

A person looked at regions of the slide as a whole, corrected the nuclei in them, and drew an outline around each region. So
what is inside is annotated completely: a nucleus that was deleted there is background. Outside of the regions nothing is known.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import shapely
from jaxtyping import Float64, UInt8

from cellvit.data.annotations.assembly import Reading
from cellvit.data.annotations.geojson import outlines_of
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.outlines import Outline, Part, Ring, area_of
from cellvit.data.cutting import SMALLEST_PX
from cellvit.data.slides.area import AREA_CLASS
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.tiff import LARGEST_PX
from cellvit.errors import ContractError

_DECIMALS: Final = 3
"""Decimals of coordinates: a thousandth of a pixel moves no centre of a pixel across a predicted outline."""

_REGION_SIGN: Final = "*"
"""Classes of QuPath that end so ("Region*") are regions by its convention, and not objects."""

_SHOWN: Final = 10
"""Objects that a message lists; the others are counted."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """The objects of a corrected file, in px of the full resolution.

    Attributes:
        path: The file.
        checked: Class of the outlines around the regions.
        regions: What was looked at as a whole, without holes between them: regions that overlapped are one.
        nuclei: Nuclei with their classes, also those outside of the regions.
        ignored: Regions that count nowhere (class "Ignore*").
        counts: What was left out while reading, by the name of the rule (docs/outlines.md); `other_regions` are outlines
            of other classes that end with "*", and of the analysed area.
    """

    path: Path
    checked: str
    regions: tuple[shapely.Polygon, ...]
    nuclei: tuple[Outline, ...]
    ignored: tuple[Outline, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CutRegion:
    """One region as an image of its own.

    Attributes:
        x, y: Its top left corner in px of the full resolution of the slide.
        pixels: RGB, at the resolution of the model.
        annotation: GeoJSON in px of `pixels`: the region, regions that count nowhere, and the nuclei.
        n_by_class: Nuclei that reach into the region, by the name of their class.
    """

    x: int
    y: int
    pixels: UInt8[np.ndarray, "h w 3"]
    annotation: dict[str, Any]
    n_by_class: Counter[str]


class _Box(NamedTuple):
    """A rectangle of the slide in px of the model."""

    left: int
    top: int
    right: int
    bottom: int


def read_corrections(path: Path, checked: str) -> Corrections:
    """Read the GeoJSON that was exported after the correction.

    Args:
        checked: Class of the outlines around what was looked at as a whole; capitals make no difference.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not GeoJSON of outlines, or has no outline of the class `checked`.
    """
    reading = Reading(path, (0, 0), Options(region_classes=(checked,)), Place())
    found: dict[str, list[Outline]] = {"nucleus": [], "region": [], "not_annotated": []}
    for outline in outlines_of(reading):
        role = reading.role_of(outline.name)
        if role == "nucleus" and (outline.name == AREA_CLASS or outline.name.endswith(_REGION_SIGN)):
            reading.counts["other_regions"] += 1
        else:
            found[role].append(outline)
    whole = shapely.union_all([area_of(outline, reading) for outline in found["region"]])
    regions = tuple(part for part in shapely.get_parts(whole) if part.area > 0)
    if not regions:
        raise _no_region(path, checked, found["nucleus"])
    counts = {name: n for name, n in reading.counts.items() if n}
    return Corrections(path, checked, regions, tuple(found["nucleus"]), tuple(found["not_annotated"]), counts)


def check_classes(corrections: Corrections, known: Collection[str]) -> None:
    """Refuse nuclei in the regions that have no class, or one that the data set does not have.

    Raises:
        ContractError: There are such nuclei; the message says where.
    """
    unknown = [one for one in corrections.nuclei if one.name not in known]
    wrong = [one for region in corrections.regions for one in _meeting(unknown, region)]
    if not wrong:
        return
    lines = [f"{one.name or 'no class'}, at x={x:.0f}, y={y:.0f}" for one in wrong[:_SHOWN] for x, y in [_middle(one)]]
    lines += [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
    listed = "\n  ".join(lines)
    raise ContractError(
        f"{corrections.path}: the objects in the checked regions must be nuclei of the classes {', '.join(known)}; found "
        f"{len(wrong)} others:\n  {listed}\nFix: give each its class in QuPath, or delete it, and export again. If the class is one "
        "that the model does not have, add it:  --new-class NAME"
    )


def cut_regions(corrections: Corrections, pixels: ModelPixels, colors: Mapping[str, str]) -> Iterator[CutRegion]:
    """Cut each region out of the slide, from top to bottom.

    A nucleus that reaches beyond the border of its image keeps its class and its whole outline.

    Args:
        colors: Colour of each class of nuclei as #rrggbb.

    Raises:
        ContractError: A region lies outside of the slide, or is too small or too large for an image.
    """
    for region in sorted(corrections.regions, key=lambda one: (one.bounds[1], one.bounds[0])):
        box = _box_of(region, corrections.path, pixels)
        on_slide = shapely.box(*(side * pixels.scale for side in box))
        nuclei = _meeting(corrections.nuclei, region)
        corner, scale = np.array(on_slide.bounds[:2]), pixels.scale
        outlines = [
            (Outline((_part_of(region),), corrections.checked), None),
            *((one, None) for one in _meeting(corrections.ignored, region)),
            *((one, colors[one.name]) for one in nuclei),
        ]
        yield CutRegion(
            x=round(float(corner[0])),
            y=round(float(corner[1])),
            pixels=pixels.read(box.left, box.top, box.right - box.left, box.bottom - box.top),
            annotation={
                "type": "FeatureCollection",
                "features": [_feature(one, color, corner, scale) for one, color in outlines],
            },
            n_by_class=Counter(one.name for one in nuclei),
        )


def _no_region(path: Path, checked: str, others: Sequence[Outline]) -> ContractError:
    classes = ", ".join(f"{n} of {name or 'no class'}" for name, n in Counter(one.name for one in others).items())
    return ContractError(
        f"{path}: expected an annotation of the class {checked!r} around each region that was corrected as a whole, found "
        f"{classes or 'no outlines'}. Without it, nobody can know where nuclei that are not outlined are background. Fix: draw it in QuPath "
        f"(a rectangle), set its class to {checked}, and export again together with the nuclei."
    )


def _meeting(outlines: Sequence[Outline], area: shapely.Geometry) -> list[Outline]:
    """The outlines that reach into an area, by the convex hull of their points: outlines may cross themselves."""
    left, top, right, bottom = area.bounds
    shapely.prepare(area)
    found = []
    for outline in outlines:
        points = _points(outline)
        is_near = len(points) and (points.max(0) > (left, top)).all() and (points.min(0) < (right, bottom)).all()
        if is_near and area.intersects(shapely.MultiPoint(points).convex_hull):
            found.append(outline)
    return found


def _box_of(region: shapely.Polygon, path: Path, pixels: ModelPixels) -> _Box:
    """The smallest rectangle of whole pixels of the model around a region."""
    left, top, right, bottom = np.array(region.bounds) / pixels.scale
    # A rectangle that was drawn on pixels stays there, whatever the rounding of the division.
    low = np.floor(np.round([left, top], _DECIMALS)).astype(int)
    high = np.ceil(np.round([right, bottom], _DECIMALS)).astype(int)
    box = _Box(*np.maximum(low, 0).tolist(), *np.minimum(high, (pixels.width, pixels.height)).tolist())
    width, height = box.right - box.left, box.bottom - box.top
    where = f"{path}: the region at x={region.bounds[0]:.0f}, y={region.bounds[1]:.0f}"
    if min(width, height) <= 0:
        raise ContractError(f"{where} lies outside of the slide. Fix: is the file that of another slide?")
    if min(width, height) < SMALLEST_PX:
        raise ContractError(
            f"{where} must have at least {SMALLEST_PX} px of the model on each side, found {width} x {height} px. Fix: draw "
            "it larger, and correct all nuclei in it."
        )
    if width * height > LARGEST_PX:
        raise ContractError(
            f"{where} must have at most {LARGEST_PX:,} px of the model, found {width:,} x {height:,} px. Fix: draw several "
            "smaller regions."
        )
    return box


def _middle(outline: Outline) -> Float64[np.ndarray, " 2"]:
    points = _points(outline)
    middle: Float64[np.ndarray, " 2"] = (points.min(axis=0) + points.max(axis=0)) / 2
    return middle


def _points(outline: Outline) -> Float64[np.ndarray, "n 2"]:
    return np.concatenate([part.outer for part in outline.parts])


def _part_of(polygon: shapely.Polygon) -> Part:
    outer, *holes = (shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors))
    return Part(outer, tuple(holes))


def _feature(outline: Outline, color: str | None, corner: Float64[np.ndarray, " 2"], scale: float) -> dict[str, Any]:
    """An object of QuPath, in px of the cut image: a detection if it has a colour, else an annotation."""
    polygons = [
        [_closed((ring - corner) / scale) for ring in (part.outer, *part.holes)]
        for part in outline.parts
        if len(part.outer)
    ]
    many = len(polygons) > 1
    classification: dict[str, Any] = {"name": outline.name}
    if color:
        classification["color"] = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return {
        "type": "Feature",
        "geometry": {"type": "MultiPolygon" if many else "Polygon", "coordinates": polygons if many else polygons[0]},
        "properties": {"objectType": "detection" if color else "annotation", "classification": classification},
    }


def _closed(ring: Ring) -> list[list[float]]:
    points: list[list[float]] = np.round(ring, _DECIMALS).tolist()
    return points if points[0] == points[-1] else [*points, points[0]]
