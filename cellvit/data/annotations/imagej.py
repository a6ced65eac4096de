"""Regions of interest (ROI) of ImageJ and Fiji: one .roi file, or a .zip of them as the ROI Manager saves it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.assembly import Reading
from cellvit.data.annotations.bounded import read_at_most, read_bytes
from cellvit.data.annotations.ellipse import ellipse
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.outlines import Outline, Part, Ring, annotation_of, polygonal, ring_of
from cellvit.errors import ContractError

_MAGIC: Final = b"Iout"
_OF_MACOS: Final = "__MACOSX/"
_LINES: Final = (ROI_TYPE.LINE, ROI_TYPE.FREELINE, ROI_TYPE.POLYLINE, ROI_TYPE.ANGLE)
_POLYGONS: Final = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
_UNREADABLE: Final = (ValueError, TypeError, IndexError, RuntimeError, OverflowError, struct.error)
"""What roifile raises for content that is not as it should be."""


def read_imagej(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """ROIs of a file; the class is the number of their group, where they have one.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a ROI, or a zip of ROIs.
    """
    reading = Reading(path, shape, options, place)
    return annotation_of(_outlines(read_bytes(path), reading), reading)


def _outlines(content: bytes, reading: Reading) -> Iterator[Outline]:
    is_single = content.startswith(_MAGIC)
    members = [(reading.path.name, content)] if is_single else _unpacked(content, reading.path)
    for name, member in members:
        outline = _outline(_roi(member, reading.path, name), reading, name)
        if outline is not None:
            yield outline


def _unpacked(content: bytes, path: Path, *, is_inner: bool = False) -> Iterator[tuple[str, bytes]]:
    """Name and content of each ROI in a zip; a zip that is the only one within it is opened, as published sets have it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [one for one in archive.infolist() if not one.filename.startswith(_OF_MACOS)]
            rois = [one for one in members if one.filename.lower().endswith(".roi")]
            inner = [one for one in members if one.filename.lower().endswith(".zip")]
            if not rois and len(inner) == 1 and not is_inner:
                yield from _unpacked(_member(archive, inner[0], path), path, is_inner=True)
            elif not rois:
                raise ContractError(
                    f"{path}: expected ROIs (.roi) in the zip, found none in {len(members)} files. Fix: save them again (ROI Manager > More > Save)."
                )
            for one in rois:
                yield one.filename, _member(archive, one, path)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, ValueError, OSError) as error:
        raise ContractError(
            f"{path}: expected a ROI of ImageJ or a zip of them, found a file of {len(content):,} bytes that starts with "
            f"{content[:8]!r}: {error}. Fix: save it again (ROI Manager > More > Save)."
        ) from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bytes:
    with archive.open(member) as file:
        return read_at_most(file, path, compressed_bytes=member.compress_size)


def _roi(content: bytes, path: Path, name: str) -> ImagejRoi:
    try:
        return ImagejRoi.frombytes(content)
    except _UNREADABLE as error:
        raise _refused(path, name, f"a file of {len(content):,} bytes: {error}") from error


def _outline(roi: ImagejRoi, reading: Reading, name: str) -> Outline | None:
    """The outline of a ROI; None, and counted, if it encloses nothing."""
    if roi.roitype in _LINES:
        reading.counts["lines"] += 1
    elif roi.roitype == ROI_TYPE.POINT:
        reading.counts["points"] += max(1, roi.n_coordinates)
    elif roi.roitype == ROI_TYPE.RECT and roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        reading.counts["texts"] += 1
    else:
        reading.counts["splines"] += bool(roi.options & ROI_OPTIONS.SPLINE_FIT)
        group = str(roi.group) if roi.group > 0 else ""
        return Outline(_parts(roi, reading.path, name), group)
    return None


def _parts(roi: ImagejRoi, path: Path, name: str) -> tuple[Part, ...]:
    if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL) and not roi.composite:
        return (Part(_of_box(roi, path, name)),)
    if roi.roitype not in (ROI_TYPE.RECT, *_POLYGONS):
        raise _refused(path, name, f"the type {int(roi.roitype)}")
    try:
        paths = roi.coordinates(multi=True)
    except _UNREADABLE as error:
        raise _refused(path, name, f"a shape that cannot be read: {error}") from error
    rings = [ring_of(points, path, name) for points in paths]
    if not roi.composite:
        return tuple(Part(ring) for ring in rings)
    polygons = shapely.get_parts(polygonal(rings))
    return tuple(Part(_points(one.exterior), tuple(_points(hole) for hole in one.interiors)) for one in polygons)


def _of_box(roi: ImagejRoi, path: Path, name: str) -> Ring:
    box: list[tuple[float, float]] = [(roi.left, roi.top), (roi.right, roi.bottom)]
    if roi.subpixelrect:
        box = [(roi.xd, roi.yd), (roi.xd + roi.widthd, roi.yd + roi.heightd)]
    low, high = ring_of(box, path, name)
    if roi.roitype == ROI_TYPE.OVAL:
        return ellipse(low, high)
    return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def _points(ring: shapely.LinearRing) -> Ring:
    points: Ring = shapely.get_coordinates(ring)
    return points


def _refused(path: Path, name: str, found: str) -> ContractError:
    return ContractError(
        f"{path}: {name}: expected a polygon, freehand, traced, oval, ellipse, rectangle or composite ROI of ImageJ, found "
        f"{found}. Fix: save it again (ROI Manager > More > Save), or leave it out."
    )
