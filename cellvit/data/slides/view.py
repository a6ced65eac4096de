"""The part of a slide that is shown as a picture: all of it, or the surroundings of a small analysed area."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, UInt8

from cellvit.data.slides.area import Area
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.rectangles import Rectangle
from cellvit.data.slides.resampling import reduced

_SMALL: Final = 0.25
"""Share of the slide below which the surroundings of an area are shown (decision): nuclei are then twice as large in it."""

_AROUND: Final = 0.05
"""Margin on each side, as a share of the longer side of the area."""


@dataclass(frozen=True, slots=True)
class View:
    """A picture of a slide or of a part of it.

    Attributes:
        pixels: RGB.
        scale: Px of level 0 for each pixel.
        size: Width and height in px of level 0.
        left, top: Place of its first pixel in px of level 0.
        is_whole: True if it shows the whole slide.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    scale: float
    size: tuple[float, float]
    left: float = 0.0
    top: float = 0.0
    is_whole: bool = True

    @property
    def origin(self) -> Float64[np.ndarray, " 2"]:
        """Left and top."""
        return np.array([self.left, self.top])


def view_of(pixels: ModelPixels, area: Area, longest_px: int) -> View:
    """A picture whose longer side has `longest_px` pixels, or as many as the image has at the resolution of the model."""
    slide = pixels.slide
    left, top, right, bottom = area.geometry.bounds if not area.geometry.is_empty else (0, 0, slide.width, slide.height)
    margin = _AROUND * max(right - left, bottom - top)
    left, top = max(0.0, left - margin), max(0.0, top - margin)
    right, bottom = min(float(slide.width), right + margin), min(float(slide.height), bottom + margin)
    if (right - left) * (bottom - top) > _SMALL * slide.width * slide.height:
        whole = pixels.thumbnail(longest_px)
        return View(whole, max(slide.width, slide.height) / max(whole.shape[:2]), (slide.width, slide.height))
    scale = max(pixels.scale, max(right - left, bottom - top) / longest_px)
    first_x, first_y = int(left / scale), int(top / scale)
    last_x, last_y = max(first_x + 1, int(right / scale)), max(first_y + 1, int(bottom / scale))
    shown = reduced(slide, scale, Rectangle(first_x, first_y, last_x, last_y))
    size = (last_x - first_x) * scale, (last_y - first_y) * scale
    return View(shown, scale, size, first_x * scale, first_y * scale, is_whole=False)
