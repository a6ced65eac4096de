"""First pass over the nuclei of an image: where they lie, and how far the nearest other nucleus is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy.spatial import cKDTree

from cellvit.formats.nuclei import NucleiTable

_QUERY: Final = 1 << 16
"""Nuclei that are looked up at once: the neighbours of all would take another 32 bytes a nucleus."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Position, class and nearest neighbour of every nucleus of an image, in the order of the output.

    It takes 21 bytes a nucleus, and about 60 more while the neighbours are looked up.

    Attributes:
        centroids: x and y in px of the model.
        classes: Number of the class of each nucleus.
        nearest_um: Distance of the centroid to that of the nearest other nucleus; NaN if there is none.
    """

    centroids: Float64[np.ndarray, "n 2"]
    classes: UInt8[np.ndarray, " n"]
    nearest_um: Float32[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.classes)

    def n_by_class(self, n_classes: int) -> tuple[int, ...]:
        """Number of nuclei of each class, in the order of the data set."""
        return tuple(np.bincount(self.classes, minlength=n_classes + 1)[1:].tolist())


def survey_of(nuclei: Iterator[NucleiTable], *, mpp: float) -> Survey:
    """The positions of all nuclei.

    Args:
        mpp: Micrometres per px of the model.
    """
    centroids, classes = [np.empty((0, 2))], [np.empty(0, np.uint8)]
    for table in nuclei:
        centroids.append(np.column_stack([table.x, table.y]))
        classes.append(table.nucleus_class.copy())
    joined = np.concatenate(centroids)
    return Survey(joined, np.concatenate(classes), (nearest_px(joined) * mpp).astype(np.float32))


def nearest_px(centroids: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " n"]:
    """Distance of each point to the nearest other one; NaN if there is none.

    Examples:
        >>> nearest_px(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])).tolist()
        [5.0, 1.0, 1.0]
    """
    found = np.full(len(centroids), np.nan)
    if len(centroids) < 2:
        return found
    tree = cKDTree(centroids)
    for first in range(0, len(centroids), _QUERY):
        # The nearest point of all is the point itself, or one at the same place, whose distance is 0 too.
        found[first : first + _QUERY] = tree.query(centroids[first : first + _QUERY], k=2)[0][:, 1]
    return found
