"""Micrometres per pixel as an image file states them; sources that contradict each other are an error."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

import tifffile

from cellvit.errors import ContractError

COARSEST_MPP: Final = 10.0
"""Resolution tags of more than this (2,540 dpi or fewer) describe a print or a screen: 72, 96, 300 and 600 dpi are what
programs write that know nothing of the microscope. They say nothing."""

_TOLERANCE: Final = 0.01
"""Largest relative difference between x and y, and between two sources; rounding in real files stays below 0.1 %."""

_UM_PER_UNIT: Final = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0, "in": 25_400.0,
}  # fmt: skip
_UM_PER_TAG_UNIT: Final = {2: 25_400.0, 3: 10_000.0}
"""TIFF ResolutionUnit: inch, centimetre; 1 means that there is no unit."""


class Spacing(NamedTuple):
    """Micrometres per pixel along x and y."""

    x: float
    y: float


class StatedMpp(NamedTuple):
    """Micrometres per pixel, and where the file states it; None and "" where it does not."""

    mpp: float | None
    source: str


def agreed_mpp(path: Path, stated: Mapping[str, Spacing]) -> StatedMpp:
    """The one resolution that all sources state; the first source is named.

    Raises:
        ContractError: x and y differ by more than 1 %, a value is not positive, or two sources contradict each other.
    """
    means: dict[str, float] = {}
    for source, (x, y) in stated.items():
        if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
            raise ContractError(
                f"{path}: {source} must be positive numbers, found {x} and {y}. Fix: correct or remove this entry."
            )
        if abs(x - y) > _TOLERANCE * max(x, y):
            raise ContractError(
                f"{path}: {source} must be equal along x and y, found {x:.4g} and {y:.4g} um per pixel. "
                "Fix: resample the image to square pixels, or correct the entry."
            )
        means[source] = x  # and not the mean, so that the value is the one in the file
    if not means:
        return StatedMpp(None, "")
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    if means[high] - means[low] > _TOLERANCE * means[high]:
        raise ContractError(
            f"{path}: the file contradicts itself: {low} states {means[low]:.4g} um per pixel, {high} states "
            f"{means[high]:.4g}. Fix: find out which is right, and remove the other from the file."
        )
    source = next(iter(means))
    return StatedMpp(means[source], source)


def spacing_of_dpi(x: float, y: float) -> Spacing | None:
    """Spacing of a resolution in dots per inch; None where it describes a print."""
    return _microscopic(_inverse(x, 25_400.0), _inverse(y, 25_400.0))


def tiff_spacings(path: Path, tif: tifffile.TiffFile, page: tifffile.TiffPage) -> dict[str, Spacing]:
    """What OME-XML, Aperio's description, ImageJ's metadata and the resolution tags of a TIFF state, in this order."""
    found = {
        "OME PhysicalSizeX": _ome(path, tif),
        "Aperio MPP": _aperio(page.description),
        "ImageJ metadata": _imagej(tif, page),
        "TIFF resolution tags": _tags(page),
    }
    return {source: spacing for source, spacing in found.items() if spacing is not None}


def _ome(path: Path, tif: tifffile.TiffFile) -> Spacing | None:
    text = tif.ome_metadata
    if not text:
        return None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ContractError(f"{path}: OME-XML must not define entities. Fix: export the image again.")
    pixels = next((one for one in ElementTree.fromstring(text).iter() if one.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    sides = []
    for axis in "XY":
        value = pixels.get(f"PhysicalSize{axis}", pixels.attrib["PhysicalSizeX"])
        unit = _UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if unit is None:  # "pixel" and "reference frame" are not lengths
            return None
        sides.append(float(value) * unit)
    return Spacing(*sides)


def _aperio(description: str) -> Spacing | None:
    """The resolution of a scan by Aperio. An arrow marks a scaled copy, in which the entry is that of the original."""
    if not description.startswith("Aperio") or "->" in description:
        return None
    match = re.search(r"\|\s*MPP\s*=\s*([0-9.,]+)", description)
    return None if match is None else Spacing(*[float(match[1].replace(",", "."))] * 2)


def _imagej(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> Spacing | None:
    unit = str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ").lower()
    um = _UM_PER_UNIT.get(unit)
    if um is None:
        return None
    x, y = (_ratio(page, name) for name in ("XResolution", "YResolution"))
    return _microscopic(_inverse(x, um), _inverse(y, um))


def _tags(page: tifffile.TiffPage) -> Spacing | None:
    unit = page.tags.valueof("ResolutionUnit", default=2)  # inch is the default of TIFF 6.0
    um = _UM_PER_TAG_UNIT.get(int(unit))
    if um is None:
        return None
    x, y = (_ratio(page, name) for name in ("XResolution", "YResolution"))
    return _microscopic(_inverse(x, um), _inverse(y, um))


def _ratio(page: tifffile.TiffPage, name: str) -> float:
    numerator, denominator = page.tags.valueof(name, default=(0, 1))
    return float(numerator) / float(denominator) if denominator else 0.0


def _inverse(per_unit: float, um: float) -> float:
    return um / per_unit if per_unit > 0 else math.inf


def _microscopic(x: float, y: float) -> Spacing | None:
    return Spacing(x, y) if max(x, y) <= COARSEST_MPP else None
