"""GeoJSON as QuPath exports it, and as CellViT writes its predictions.

References:
    The GeoJSON format: RFC 7946. QuPath's objects: https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html
"""

import ast
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.assembly import Reading
from cellvit.data.annotations.bounded import read_json, shown
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.outlines import Outline, Part, annotation_of, ring_of
from cellvit.errors import ContractError

_NO_NUCLEI: Final = ("tile", "tma_core", "PathTileObject", "TMACoreObject")
"""Types of objects that are parts of the tissue; the last two are in the id of old files."""

_MOST_PARTS: Final = 8
"""A feature with more parts is not one nucleus but all nuclei of a class; QuPath can split it."""

_LONGEST_TEXT: Final = 10_000

_RULE_OF_TYPE: Final = {"Point": "points", "MultiPoint": "points", "LineString": "lines", "MultiLineString": "lines"}


def read_geojson(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Outlines of a GeoJSON file: a FeatureCollection, a list of features, or one feature; also compressed (.gz).

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not GeoJSON with outlines in pixels.
    """
    reading = Reading(path, shape, options, place)
    return annotation_of(outlines_of(reading), reading)


def outlines_of(reading: Reading) -> Iterator[Outline]:
    """Outlines of a GeoJSON file in its own coordinates, in its order; the shape and the place of the image are not used.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not GeoJSON with outlines in pixels.
    """
    path, document = reading.path, read_json(reading.path)
    features = features_of(document, path)
    names = [_class_of(feature, path, f"feature {number}") for number, feature in enumerate(features)]
    by_part = isinstance(document, list) and _has_one_feature_per_class(features, names)
    return _outlines(features, names, reading, by_part=by_part)


def features_of(document: object, path: Path) -> list[Mapping[str, Any]]:
    """Features of a FeatureCollection, of a list of features, or of one feature.

    Raises:
        ContractError: The document is none of these.
    """
    match document:
        case {"type": "FeatureCollection", "features": list(features)}:
            pass
        case {"type": "Feature"}:
            features = [document]
        case list(features):
            pass
        case _:
            raise _refused(path, "the file", "a FeatureCollection, a list of features or one Feature", document)
    for number, feature in enumerate(features):
        if not isinstance(feature, dict) or not isinstance(feature.get("properties"), dict | None):
            raise _refused(path, f"feature {number}", "a Feature with properties", feature)
    return features


def _outlines(
    features: Sequence[Mapping[str, Any]], names: Sequence[str], reading: Reading, *, by_part: bool
) -> Iterator[Outline]:
    for number, (feature, name) in enumerate(zip(features, names, strict=True)):
        where, role = f"feature {number}", reading.role_of(name)
        if role == "nucleus" and _type_of(feature) in _NO_NUCLEI:
            reading.counts["tiles"] += 1
            continue
        parts = _parts(_geometry(feature, reading.counts), reading, where)
        if role == "nucleus" and by_part:
            reading.counts["split"] += len(parts)
            yield from (Outline((part,), name) for part in parts)
        elif role == "nucleus" and len(parts) > _MOST_PARTS:
            raise ContractError(
                f"{reading.path}: {where}: expected one nucleus, found {len(parts)} polygons of class {name!r}. Fix: in QuPath, "
                "select it and split it (Objects > Annotations > Split annotations); if it is a region, name its class in "
                "region_classes or not_annotated."
            )
        elif parts:
            yield Outline(parts, name)


def _has_one_feature_per_class(features: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
    """True for CellViT's lists: one MultiPolygon with all nuclei of a class; QuPath's old lists have other ids."""
    types = {_geometry_type(feature) for feature in features}
    is_multiple = "MultiPolygon" in types and types <= {"MultiPolygon", "MultiPoint"}
    is_distinct = "" not in names and len(set(names)) == len(names)
    return is_multiple and is_distinct and not any(str(feature.get("id")).startswith("Path") for feature in features)


def _geometry_type(feature: Mapping[str, Any]) -> object:
    geometry = feature.get("geometry")
    return str(geometry.get("type")) if isinstance(geometry, dict) else None


def _type_of(feature: Mapping[str, Any]) -> object:
    """Type of QuPath's object; old files have it as the id."""
    properties = feature.get("properties") or {}
    return properties.get("objectType") or properties.get("object_type") or feature.get("id")


def _geometry(feature: Mapping[str, Any], counts: Counter[str]) -> object:
    nucleus = feature.get("nucleusGeometry")
    if nucleus is None and _type_of(feature) in ("cell", "PathCellObject"):
        counts["cells_without_nucleus"] += 1
    return feature.get("geometry") if nucleus is None else nucleus


def _parts(geometry: object, reading: Reading, where: str) -> tuple[Part, ...]:
    """Polygons of a geometry; what has no area is counted."""
    parts: list[Part] = []
    waiting = [geometry]
    while waiting:
        match waiting.pop(0):
            case None:
                reading.counts["without_outline"] += 1
            case {"type": "Polygon", "coordinates": list(rings)}:
                parts.append(_part(rings, reading, where))
            case {"type": "MultiPolygon", "coordinates": list(polygons)}:
                parts.extend(_part(rings, reading, where) for rings in polygons)
            case {"type": "GeometryCollection", "geometries": list(geometries)}:
                waiting.extend(geometries)
            case {"type": str(kind), "coordinates": list(points)} if kind in _RULE_OF_TYPE:
                reading.counts[_RULE_OF_TYPE[kind]] += len(points) if kind.startswith("Multi") else 1
            case other:
                raise _refused(reading.path, f"{where}: geometry", "a geometry with type and coordinates", other)
    return tuple(parts)


def _part(rings: object, reading: Reading, where: str) -> Part:
    if not isinstance(rings, list):
        raise _refused(reading.path, f"{where}: geometry", "a list of rings", rings)
    outer, *holes = [ring_of(ring, reading.path, where) for ring in rings or [[]]]
    reading.counts["closed"] += any(len(ring) > 0 and (ring[0] != ring[-1]).any() for ring in (outer, *holes))
    return Part(outer, tuple(holes))


def _class_of(feature: Mapping[str, Any], path: Path, where: str) -> str:
    """Class of a feature; several names are joined as QuPath shows them, "Tumor: Positive"."""
    classification = (feature.get("properties") or {}).get("classification")
    match _parsed(classification):
        case None | "":
            return ""
        case str(name) | {"name": str(name)}:
            return name
        case {"names": list(names)} if all(isinstance(name, str) for name in names):
            return ": ".join(names)
        case dict(other) if other.get("name") is None and other.get("names") is None:
            return ""
        case other:
            raise _refused(path, f"{where}: classification", "a name, or an object with name or names", other)


def _parsed(classification: object) -> object:
    """The classification; other programs write the object as a text, of JSON or of Python."""
    if not isinstance(classification, str) or not classification.lstrip().startswith("{"):
        return classification
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(classification[:_LONGEST_TEXT])  # type: ignore[no-any-return, operator]
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return classification


def _refused(path: Path, where: str, expected: str, found: object) -> ContractError:
    return ContractError(
        f"{path}: {where}: expected {expected}, found {shown(found)}. Fix: export the objects again, in QuPath by "
        "File > Export objects as GeoJSON."
    )
