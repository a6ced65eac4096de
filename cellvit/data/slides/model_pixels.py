"""A slide at the resolution of a model."""

import math
from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Int64, UInt8

from cellvit.data.resampling import needs_resampling
from cellvit.data.slides.rectangles import Rectangle
from cellvit.data.slides.resampling import reduced, resampled
from cellvit.data.slides.slide import Slide
from cellvit.data.slides.stated_mpp import GIVEN
from cellvit.data.slides.tile_cache import TileCache
from cellvit.errors import SettingsError

BLOCK_PX: Final = 512
"""Side of the blocks that are resampled at once. They lie at multiples of their side, so that a pixel is always computed
from the same pixels, whatever rectangle is read."""

Pixels = UInt8[np.ndarray, "height width 3"]


class ModelPixels:
    """Pixels of a slide at the resolution of a model, in px of the model.

    A slide whose resolution is within 1 % of the model's is not resampled: its pixels are those of level 0. Only one thread
    may read at a time.

    Attributes:
        slide: The slide, which stays open.
        width, height: Size in px of the model.
        scale: Pixels of level 0 for each px of the model; exactly 1 if the slide is not resampled.
    """

    def __init__(self, slide: Slide, model_mpp: float) -> None:
        if slide.mpp is None:
            raise SettingsError(
                f"{slide.path}: the file does not state its resolution, and it is not guessed. Fix: give the micrometres per "
                f"pixel, as in {GIVEN} 0.25; scanners call 0.25 a magnification of 40, 0.5 one of 20."
            )
        self.slide = slide
        self.scale = model_mpp / slide.mpp if needs_resampling(slide.mpp, model_mpp) else 1.0
        self.width, self.height = (max(1, round(side / self.scale)) for side in (slide.width, slide.height))
        self._blocks = TileCache()

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Pixels of a rectangle, which do not depend on the rectangle; the slide is reflected beyond its border.

        Raises:
            ContractError: The file is damaged there.
        """
        columns, rows = _inside(x, width, self.width), _inside(y, height, self.height)
        place = Rectangle(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        pixels = self._read_inside(place)
        if (place.right - place.left, place.bottom - place.top) == (width, height) and place[:2] == (x, y):
            return pixels
        return np.asarray(pixels[np.ix_(rows - place.top, columns - place.left)])

    def thumbnail(self, longest_px: int) -> Pixels:
        """The whole slide, its longer side of `longest_px` px, or as large as it is."""
        return reduced(self.slide, max(self.scale, max(self.slide.width, self.slide.height) / longest_px))

    def _read_inside(self, place: Rectangle) -> Pixels:
        left, top, right, bottom = place
        if self.scale == 1.0:
            return self.slide.read(left, top, right - left, bottom - top)
        pixels = np.empty((bottom - top, right - left, 3), np.uint8)
        for row in range(top // BLOCK_PX, math.ceil(bottom / BLOCK_PX)):
            for column in range(left // BLOCK_PX, math.ceil(right / BLOCK_PX)):
                block = self._place_of(row, column)
                part = Rectangle(*map(max, place[:2], block[:2]), *map(min, place[2:], block[2:]))
                made = self._blocks.get((row, column), partial(resampled, self.slide, block, self.scale))
                pixels[part.top - top : part.bottom - top, part.left - left : part.right - left] = made[
                    part.top - block.top : part.bottom - block.top, part.left - block.left : part.right - block.left
                ]
        return pixels

    def _place_of(self, row: int, column: int) -> Rectangle:
        left, top = column * BLOCK_PX, row * BLOCK_PX
        return Rectangle(left, top, min(self.width, left + BLOCK_PX), min(self.height, top + BLOCK_PX))


def _inside(start: int, length: int, side: int) -> Int64[np.ndarray, " n"]:
    """Places inside an image for `length` places from `start`: reflected at the border, without repeating the last pixel.

    Examples:
        >>> _inside(-2, 4, 3), _inside(1, 4, 3), _inside(0, 3, 1)
        (array([2, 1, 0, 1]), array([1, 2, 1, 0]), array([0, 0, 0]))
    """
    period = max(1, 2 * (side - 1))
    places = np.arange(start, start + length) % period
    return np.minimum(places, period - places) if side > 1 else np.zeros(length, np.int64)
