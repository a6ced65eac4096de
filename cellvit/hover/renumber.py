"""Ids of nuclei without gaps."""

from typing import Final

import numpy as np
from jaxtyping import Int64, Integer

TABLE_IDS: Final = 1 << 16
"""Ids below this (all 16-bit maps) are renumbered by a table, larger ones by sorting, which takes ten times as long."""


def renumber(ids: Integer[np.ndarray, " p"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " p"]]:
    """Sorted labels other than 0, and for each pixel its label's place among them plus one (0 stays 0).

    Examples:
        >>> labels, places = renumber(np.array([7, 0, 3, 7]))
        >>> labels.tolist(), places.tolist()
        ([3, 7], [2, 0, 1, 2])
    """
    if ids.size and (ids.max() >= TABLE_IDS or ids.min() < 0):
        return _sorted_out(ids)
    index = ids.astype(np.intp)
    seen = np.zeros(int(ids.max(initial=0)) + 1, bool)
    seen[index] = True
    seen[0] = False
    labels = np.flatnonzero(seen)
    without_gaps = len(labels) == len(seen) - 1
    return labels, index if without_gaps else seen.cumsum()[index]


def _sorted_out(ids: Integer[np.ndarray, " p"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " p"]]:
    inside = np.flatnonzero(ids)
    labels, ranks = np.unique(ids[inside], return_inverse=True)
    places = np.zeros(len(ids), np.int64)
    places[inside] = ranks + 1
    return labels.astype(np.int64), places
