"""Slides of scanners, read with OpenSlide (the extra `slides`)."""

from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from cellvit.data.opening import described, readable
from cellvit.data.resolution import COARSEST_MPP, Spacing
from cellvit.data.slides.rectangles import Rectangle, downsample_of, on_glass
from cellvit.data.slides.stated_mpp import chosen_mpp
from cellvit.data.slides.tile_cache import CACHE_BYTES
from cellvit.errors import ContractError, MissingInputError

INSTALL: Final = "pip install 'cellvit-optimus[slides]'"

_VENDORS: Final = {
    "aperio": "Aperio", "dicom": "DICOM", "generic-tiff": "generic TIFF", "hamamatsu": "Hamamatsu", "leica": "Leica",
    "mirax": "MIRAX", "philips": "Philips", "sakura": "Sakura", "trestle": "Trestle", "ventana": "Ventana", "zeiss": "Zeiss",
}  # fmt: skip
_EXPECTED: Final = "a slide that OpenSlide reads"


class OpenSlideSlide:
    """A slide of a scanner. Attributes as in `Slide`.

    The part of the canvas that the scanner calls its bounds is the slide, as in QuPath, so that coordinates are the same in
    both. Parts that were not scanned are transparent in OpenSlide; they are composed on white.
    """

    def __init__(self, path: Path, mpp: float | None = None) -> None:
        openslide = _openslide(path)
        self.path = path
        with readable(path, _EXPECTED):
            try:
                self._slide = openslide.OpenSlide(path)
            except openslide.OpenSlideUnsupportedFormatError as error:
                raise ContractError(
                    f"{path}: expected {_EXPECTED}, found another format, or a file of a slide without its other files. "
                    f"{described(path)} Fix: copy all files of the slide, or export it as a tiled TIFF or OME-TIFF."
                ) from error
        try:
            self._describe(openslide, mpp)
        except BaseException:
            self.close()
            raise

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> UInt8[np.ndarray, "height width 3"]:
        """Pixels of a rectangle, as in `Slide`; x and y are rounded to whole px of the level."""
        down = self.downsamples[level]
        left, top = round(x / down), round(y / down)
        place = Rectangle(left, top, left + width, top + height)
        size = max(1, int(self.width / down + 1e-6)), max(1, int(self.height / down + 1e-6))
        return on_glass(place, size, lambda inside: self._inside(inside, level))

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def _describe(self, openslide: ModuleType, mpp: float | None) -> None:
        slide, path = self._slide, self.path
        with readable(path, _EXPECTED):
            slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
            properties = dict(slide.properties)
            vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "")
            self._downsamples_there = slide.level_downsamples
            self.downsamples = tuple(downsample_of(slide.dimensions, size) for size in slide.level_dimensions)
            bounds = _bounds(properties)
        self._left, self._top = (bounds.left, bounds.top) if bounds else (0, 0)
        width, height = slide.dimensions
        if bounds:
            width, height = bounds.right - bounds.left, bounds.bottom - bounds.top
        self.width, self.height = width, height
        name = _VENDORS.get(str(vendor), str(vendor))
        self.kind = f"{name} slide (OpenSlide {openslide.__library_version__}, {slide.level_count} levels)"
        self.mpp, self.mpp_source, self.notes = chosen_mpp(path, _spacings(properties, name), mpp)

    def _inside(self, place: Rectangle, level: int) -> UInt8[np.ndarray, "h w 3"]:
        """Pixels of a rectangle inside the slide, in px of the level."""
        # OpenSlide places levels by the ratio of the sizes.
        there, down = self._downsamples_there[level], self.downsamples[level]
        left, top = (
            round((start + origin / down) * there)
            for start, origin in ((place.left, self._left), (place.top, self._top))
        )
        size = place.right - place.left, place.bottom - place.top
        with readable(self.path, "readable pixels"):
            return on_white(np.asarray(self._slide.read_region((left, top), level, size)))


def on_white(rgba: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    """Colours with transparency over white."""
    colours, alpha = rgba[..., :3], rgba[..., 3:]
    if (alpha == 255).all():
        return np.ascontiguousarray(colours)
    mixed = (colours.astype(np.uint16) * alpha + 255 * (255 - alpha.astype(np.uint16)) + 127) // 255
    return np.asarray(mixed, np.uint8)


def _openslide(path: Path) -> ModuleType:
    try:
        import openslide
    except (ImportError, OSError) as error:  # the second: its library does not fit this machine
        raise MissingInputError(
            f"{path}: slides of scanners are read with OpenSlide, which is not installed ({error}). Fix: {INSTALL}"
        ) from error
    return openslide  # type: ignore[no-any-return]


def _bounds(properties: dict[str, Any]) -> Rectangle | None:
    """The scanned part of the canvas, where the slide names it."""
    stated = [properties.get(f"openslide.bounds-{name}") for name in ("x", "y", "width", "height")]
    if None in stated:
        return None
    left, top, width, height = map(int, stated)  # type: ignore[arg-type]
    return Rectangle(left, top, left + width, top + height) if width > 0 and height > 0 else None


def _spacings(properties: dict[str, Any], vendor: str) -> dict[str, Spacing]:
    """The resolution as OpenSlide states it; that of a print or a screen says nothing."""
    x, y = (properties.get(f"openslide.mpp-{axis}") for axis in "xy")
    stated = [float(value) for value in (x or y, y or x) if value]
    if not stated or max(stated) > COARSEST_MPP:
        return {}
    return {f"{vendor} resolution": Spacing(*stated)}
