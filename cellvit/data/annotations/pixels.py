"""Pixels of one nucleus as runs, from its outline or its mask.

The rule: the pixel in row r and column c is the square from (c, r) to (c + 1, r + 1), the origin being the top left corner of
the image. It belongs to a nucleus if its centre (c + 0.5, r + 0.5) lies inside the outline; centres on the outline itself
belong to it on its left and upper sides only, so that nuclei with a common side neither share a pixel nor leave one out.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Bool, Int64


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixels of an image, as runs in its rows.

    Attributes:
        starts, stops: First pixel of each run and the one after its last, counted through the rows of the image; ascending,
            and no run touches the next, so that equal sets of pixels are equal runs.
    """

    starts: Int64[np.ndarray, " n"]
    stops: Int64[np.ndarray, " n"]

    @property
    def n(self) -> int:
        """Number of pixels."""
        return int((self.stops - self.starts).sum())

    @property
    def key(self) -> bytes:
        """Equal for equal sets of pixels."""
        return self.starts.tobytes() + self.stops.tobytes()

    def centre(self, width: int) -> int:
        """The pixel nearest to the mean position, which may lie outside a nucleus that is bent."""
        lengths = self.stops - self.starts
        shift = self.starts - (np.cumsum(lengths) - lengths)
        pixels = np.arange(lengths.sum()) + np.repeat(shift, lengths)
        return round(float((pixels // width).mean())) * width + round(float((pixels % width).mean()))

    def paint(self, image: np.ndarray, value: int) -> None:
        """Give the pixels of the image this value."""
        flat = image.reshape(-1)
        for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
            flat[start:stop] = value


def pixels_of_mask(mask: Bool[np.ndarray, "a b"], shape: tuple[int, int], *, top: int = 0, left: int = 0) -> Pixels:
    """Pixels of a mask whose corner lies at row `top` and column `left` of an image; what lies outside is left out."""
    height, width = shape
    mask = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    rows, columns = np.nonzero(np.diff(padded, axis=1))
    return _runs((rows + max(0, top)) * width + columns + max(0, left))


def pixels_inside(polygons: shapely.Geometry, shape: tuple[int, int]) -> Pixels:
    """Pixels of an image whose centres lie inside valid polygons, by the rule of this module."""
    height, width = shape
    rings = shapely.get_rings(shapely.get_parts(polygons))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    one, other = points[:-1], points[1:]
    downward = (one[:, 1] < other[:, 1])[:, None]  # both neighbours of a side must compute the same crossings
    upper, lower = np.where(downward, one, other), np.where(downward, other, one)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
    n_rows = np.where(ring[:-1] == ring[1:], last - first, 0)

    side = np.repeat(np.arange(len(n_rows)), n_rows)
    row = np.arange(len(side)) + np.repeat(first - (np.cumsum(n_rows) - n_rows), n_rows)
    (x0, y0), (x1, y1) = upper[side].T, lower[side].T
    x = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    return _runs(row * width + column)


def _runs(crossings: Int64[np.ndarray, " n"]) -> Pixels:
    """Runs between the places where a row enters or leaves the nucleus; places that occur an even number of times cancel."""
    places, n = np.unique(crossings, return_counts=True)
    ends = places[n % 2 == 1]
    return Pixels(ends[0::2], ends[1::2])
