"""Rectangles of pixels, and what lies outside of the slide: white."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import UInt8

GLASS: Final = 255
"""Value of pixels outside of the slide and of parts that were not scanned."""

Pixels = UInt8[np.ndarray, "h w 3"]


class Rectangle(NamedTuple):
    """Pixels from left and top up to, but without, right and bottom."""

    left: int
    top: int
    right: int
    bottom: int


def on_glass(place: Rectangle, size: tuple[int, int], read: Callable[[Rectangle], Pixels]) -> Pixels:
    """Pixels of a rectangle that may reach beyond an image, or lie outside of it.

    Args:
        size: Width and height of the image.
        read: Gives the pixels of a rectangle inside the image.
    """
    left, top, right, bottom = place
    inside = Rectangle(max(0, left), max(0, top), min(size[0], right), min(size[1], bottom))
    if inside == place:
        return read(inside)
    pixels = np.full((bottom - top, right - left, 3), GLASS, np.uint8)
    if inside.right > inside.left and inside.bottom > inside.top:
        rows, columns = (
            slice(inside.top - top, inside.bottom - top),
            slice(inside.left - left, inside.right - left),
        )
        pixels[rows, columns] = read(inside)
    return pixels


def downsample_of(full: tuple[int, int], reduced: tuple[int, int]) -> float:
    """Pixels of the full resolution for each pixel of a level of this size.

    Levels are a whole number of times smaller, and incomplete pixels at the border are left out or completed; the ratio of
    the sizes would place the far end of a large slide several pixels from where it is.

    Examples:
        >>> downsample_of((100_001, 50_003), (25_000, 12_501)), downsample_of((300, 200), (120, 80))
        (4.0, 2.5)
    """
    ratio = (full[0] / reduced[0] + full[1] / reduced[1]) / 2
    whole = max(1, round(ratio))
    if all(abs(side / whole - small) < 1 for side, small in zip(full, reduced, strict=True)):
        return float(whole)
    longer = 0 if full[0] >= full[1] else 1
    return full[longer] / reduced[longer]
