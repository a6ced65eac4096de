"""XML of Aperio ImageScope, as MoNuSeg and MoNuSAC have it.

Entities are never expanded: a file with a document type is refused, because ImageScope writes none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.assembly import Reading
from cellvit.data.annotations.bounded import read_bytes, shown
from cellvit.data.annotations.ellipse import ellipse
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.outlines import Outline, Part, Ring, annotation_of, ring_of
from cellvit.errors import ContractError

_POLYGON, _RECTANGLE, _ELLIPSE, _ARROW, _RULER = "0", "1", "2", "3", "4"
_DEFAULT_ATTRIBUTE: Final = "Description"
_DEFAULT_NAME: Final = "layer "


def read_imagescope(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Regions of an ImageScope file; the class is that of their layer.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not XML of ImageScope, or has a document type.
    """
    reading = Reading(path, shape, options, place)
    root = _parsed(path)
    if root.tag != "Annotations":
        raise ContractError(
            f"{path}: expected XML of Aperio ImageScope with the outermost element Annotations, found {shown(root.tag)}. "
            "Fix: export GeoJSON from the program that wrote the file."
        )
    return annotation_of(_outlines(root, reading), reading)


def _parsed(path: Path) -> Element:
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end

    def refuse(*_: object) -> None:
        raise ContractError(
            f"{path}: expected no document type (<!DOCTYPE ...>), found one: such files can read others or fill the memory. "
            "Fix: export the file again from ImageScope."
        )

    parser.StartDoctypeDeclHandler = refuse
    content = read_bytes(path)
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: of an encoding that nobody knows
        raise ContractError(
            f"{path}: expected XML, found a file of {len(content):,} bytes that starts with {content[:20]!r}: {error}. "
            "Fix: export it again; a copy may have been interrupted."
        ) from error
    return builder.close()


def _outlines(root: Element, reading: Reading) -> Iterator[Outline]:
    for layer in root.iter("Annotation"):
        name = _class_of(layer)
        for region in layer.iter("Region"):
            where = f"layer {layer.get('Id')}, region {region.get('Id')}"
            kind = region.get("Type", _POLYGON)
            if kind in (_ARROW, _RULER):
                reading.counts["lines"] += 1
                continue
            if kind not in (_POLYGON, _RECTANGLE, _ELLIPSE):
                raise ContractError(
                    f"{reading.path}: {where}: expected a Type of 0 to 4, found {shown(kind)}. Fix: remove it in ImageScope."
                )
            outline = Outline((Part(_ring(region, kind, reading.path, where)),), name)
            is_negative = region.get("NegativeROA", "0") == "1"
            yield Outline(outline.parts, name, role="not_annotated") if is_negative else outline


def _ring(region: Element, kind: str, path: Path, where: str) -> Ring:
    points = [(vertex.get("X"), vertex.get("Y")) for vertex in region.iter("Vertex")]
    try:
        numbers = [(float(x or ""), float(y or "")) for x, y in points]
    except ValueError as error:
        raise ContractError(
            f"{path}: {where}: expected numbers X and Y of each Vertex, found {shown(points)}. Fix: export the file again."
        ) from error
    ring = ring_of(numbers, path, where)
    if kind == _ELLIPSE and len(ring):
        return ellipse(np.min(ring, axis=0), np.max(ring, axis=0))
    return ring


def _class_of(layer: Element) -> str:
    """Class of a layer: its only attribute that has a name and no value (MoNuSAC), else its name, else its description."""
    attributes = [
        (one.get("Name", "").strip(), one.get("Value", "").strip()) for one in layer.findall("Attributes/Attribute")
    ]
    named = [name for name, value in attributes if name not in ("", _DEFAULT_ATTRIBUTE) and not value]
    if len(named) == 1:
        return named[0]
    name = layer.get("Name", "").strip()
    if name and not name.lower().startswith(_DEFAULT_NAME):
        return name
    return next((value for attribute, value in attributes if attribute == _DEFAULT_ATTRIBUTE), "")
