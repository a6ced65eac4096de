"""Measurements of nuclei from their pixels, their outlines and the image; those of pixels are defined as in scikit-image."""

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8

from cellvit.data.stain_colours import hematoxylin_and_eosin
from cellvit.formats.nuclei import Outlines


class Pixels(NamedTuple):
    """Pixels of several nuclei, in any order.

    Attributes:
        nucleus: Position of the nucleus to which each pixel belongs.
        x, y: Column and row.
    """

    nucleus: Int64[np.ndarray, " p"]
    x: Int64[np.ndarray, " p"]
    y: Int64[np.ndarray, " p"]


class Moments(NamedTuple):
    """What the positions of the pixels say; the fields are those of `cellvit.formats.nuclei.NucleiTable`."""

    area_px: Int32[np.ndarray, " n"]
    x: Float64[np.ndarray, " n"]
    y: Float64[np.ndarray, " n"]
    eccentricity: Float32[np.ndarray, " n"]
    orientation: Float32[np.ndarray, " n"]


class Contours(NamedTuple):
    """What the outlines say; the fields are those of `cellvit.formats.nuclei.NucleiTable`."""

    perimeter_px: Float32[np.ndarray, " n"]
    solidity: Float32[np.ndarray, " n"]


def pixels_of(instances: Int32[np.ndarray, "h w"]) -> Pixels:
    """Pixels of the nuclei 1..n of an instance map, row by row; nucleus i has label i + 1."""
    inside = np.flatnonzero(instances != 0)  # several times faster than on the integers themselves
    y, x = np.divmod(inside, instances.shape[1])
    return Pixels(instances.reshape(-1)[inside].astype(np.int64) - 1, x, y)


def moments(pixels: Pixels, n_nuclei: int) -> Moments:
    """Area, centroid (in coordinates of the pixel edges), eccentricity and orientation of nuclei with a pixel or more.

    Examples:
        >>> moments(pixels_of(np.array([[0, 1, 1, 1]], np.int32)), 1).x
        array([2.5])
    """
    nucleus = pixels.nucleus
    area = np.bincount(nucleus, minlength=n_nuclei)
    # Relative to a pixel of the nucleus: sums of whole numbers, which are exact, and the same wherever the nucleus lies.
    first_x, first_y = np.empty(n_nuclei, np.int64), np.empty(n_nuclei, np.int64)
    first_x[nucleus[::-1]], first_y[nucleus[::-1]] = pixels.x[::-1], pixels.y[::-1]
    x, y = (pixels.x - first_x[nucleus]).astype(np.float64), (pixels.y - first_y[nucleus]).astype(np.float64)
    sum_x, sum_y, sum_xx, sum_yy, sum_xy = (
        np.bincount(nucleus, terms, n_nuclei) for terms in (x, y, x * x, y * y, x * y)
    )
    xx, yy, xy = (
        (product - one * other / area) / area
        for product, one, other in ((sum_xx, sum_x, sum_x), (sum_yy, sum_y, sum_y), (sum_xy, sum_x, sum_y))
    )
    # Axes of the ellipse with these second moments: mean of both eigenvalues, and half of their difference.
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    longest = middle + half
    shorter_by_longer = np.divide(np.maximum(middle - half, 0), longest, out=np.ones_like(longest), where=longest > 0)
    return Moments(
        area.astype(np.int32),
        first_x + sum_x / area + 0.5,
        first_y + sum_y / area + 0.5,
        np.sqrt(1 - shorter_by_longer).astype(np.float32),
        np.degrees(0.5 * np.arctan2(0 - 2 * xy, xx - yy)).astype(np.float32),  # y points down; 0 - keeps zero positive
    )


def contours(outlines: Outlines, n_nuclei: int) -> Contours:
    """Length of all rings of each nucleus, and the area inside them by that of the convex hull of the nucleus."""
    sizes = np.diff(outlines.ring_starts)
    nucleus = np.repeat(outlines.ring_nucleus, sizes)
    here = outlines.points / 2
    following = np.arange(1, len(here) + 1)
    following[outlines.ring_starts[1:] - 1] = outlines.ring_starts[:-1]
    there = here[following]
    length = np.bincount(nucleus, np.hypot(*(there - here).T), n_nuclei)
    # Relative to the first corner, so that the products are small; the sign of rings in either direction is made equal.
    ring = np.repeat(np.arange(len(sizes)), sizes)
    corner = here[outlines.ring_starts[:-1]][ring]
    (x0, y0), (x1, y1) = (here - corner).T, (there - corner).T
    enclosed = np.abs(np.bincount(ring, x0 * y1 - x1 * y0, len(sizes))) / 2
    area = np.bincount(outlines.ring_nucleus, np.where(outlines.ring_is_hole, -enclosed, enclosed), n_nuclei)
    return Contours(length.astype(np.float32), (area / _hull_areas(outlines, n_nuclei)).astype(np.float32))


def stains(image: UInt8[np.ndarray, "h w 3"], pixels: Pixels, n_nuclei: int) -> Float32[np.ndarray, "2 n"]:
    """Mean optical density of hematoxylin and of eosin in each nucleus."""
    density = hematoxylin_and_eosin(image[pixels.y, pixels.x])
    area = np.bincount(pixels.nucleus, minlength=n_nuclei)
    means: Float32[np.ndarray, "2 n"] = np.stack(
        [(np.bincount(pixels.nucleus, one, n_nuclei) / area).astype(np.float32) for one in density]
    )
    return means


def _hull_areas(outlines: Outlines, n_nuclei: int) -> Float64[np.ndarray, " n"]:
    """Area of the convex hull of the outline of each nucleus, in px."""
    rings = np.searchsorted(outlines.ring_nucleus, np.arange(n_nuclei + 1))
    bounds = outlines.ring_starts[rings].tolist()
    areas = [
        cv2.contourArea(cv2.convexHull(outlines.points[first:last] - outlines.points[first]))
        for first, last in pairwise(bounds)
    ]
    return np.array(areas, np.float64) / 4
