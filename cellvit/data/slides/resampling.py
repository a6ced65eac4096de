"""Rectangles of a slide at any resolution, from the best level of its pyramid."""

import math
from typing import Final

import numpy as np
from jaxtyping import UInt8

from cellvit.data.resampling import TOLERANCE, margin_px, resampled_box
from cellvit.data.slides.rectangles import Rectangle
from cellvit.data.slides.slide import Slide

SOURCE_PX: Final = 4096
"""Longest side of what is read at once to make a reduced copy (decision): 50 MB of pixels."""

Pixels = UInt8[np.ndarray, "h w 3"]


def best_level(slide: Slide, scale: float) -> int:
    """The coarsest level that is at least as fine as one px for each `scale` px of level 0, or within 1 % of it."""
    fine = [level for level, down in enumerate(slide.downsamples) if down <= scale * (1 + TOLERANCE)]
    return max(fine, key=slide.downsamples.__getitem__, default=0)


def resampled(slide: Slide, place: Rectangle, scale: float) -> Pixels:
    """Pixels of a rectangle of the slide's copy that has one px for each `scale` px of level 0.

    Bilinear; where the copy is coarser than the level, over as many px as one px covers (Pillow's antialiasing). The border
    of the slide is reflected.

    Args:
        place: In px of the copy.
    """
    level = best_level(slide, scale)
    down = slide.downsamples[level]
    step = scale / down
    size = [max(1, math.floor(side / down + 1e-6)) for side in (slide.width, slide.height)]
    wanted = [side * step for side in place]
    margin = margin_px(step)
    (left, right), (top, bottom) = (
        (math.floor(low) - margin, math.ceil(high) + margin)
        for low, high in ((wanted[0], wanted[2]), (wanted[1], wanted[3]))
    )
    source = _reflected(slide, level, Rectangle(left, top, right, bottom), size)
    # Relative to the source, because Pillow holds the box in single precision.
    box = (wanted[0] - left, wanted[1] - top, wanted[2] - left, wanted[3] - top)
    return resampled_box(source, box, (place.right - place.left, place.bottom - place.top))


def reduced(slide: Slide, scale: float, place: Rectangle | None = None) -> Pixels:
    """A copy of the slide with one px for each `scale` px of level 0, read part by part.

    Args:
        place: Part of the copy that is made; None for all of it.
    """
    if place is None:
        place = Rectangle(0, 0, *(max(1, round(side / scale)) for side in (slide.width, slide.height)))
    side = max(1, int(SOURCE_PX * slide.downsamples[best_level(slide, scale)] / scale))
    copy = np.empty((place.bottom - place.top, place.right - place.left, 3), np.uint8)
    for top in range(place.top, place.bottom, side):
        for left in range(place.left, place.right, side):
            part = Rectangle(left, top, min(place.right, left + side), min(place.bottom, top + side))
            rows, columns = (
                slice(top - place.top, part.bottom - place.top),
                slice(left - place.left, part.right - place.left),
            )
            copy[rows, columns] = resampled(slide, part, scale)
    return copy


def _reflected(slide: Slide, level: int, place: Rectangle, size: list[int]) -> Pixels:
    """Pixels of a level, reflected beyond its border."""
    inside = [max(0, place.left), max(0, place.top), min(size[0], place.right), min(size[1], place.bottom)]
    left, top, right, bottom = inside
    down = slide.downsamples[level]
    stored = slide.read(round(left * down), round(top * down), right - left, bottom - top, level=level)
    beyond = ((top - place.top, place.bottom - bottom), (left - place.left, place.right - right))
    return np.pad(stored, (*beyond, (0, 0)), mode="reflect") if any(map(any, beyond)) else stored
