"""Patients of tiles, and the groups that a bootstrap draws as a whole."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

Groups = Int64[np.ndarray, " n"] | None
"""Number of each tile's group; None where tiles are drawn one by one."""


def groups_of(patient: Sequence[str]) -> Groups:
    """Group of each tile: its patient, or the tile alone where that is unknown; None where no patient is known.

    Groups are numbered in the order in which they appear, so that patients of one tile each are drawn exactly as
    tiles are.

    Examples:
        >>> groups_of(["TCGA-A1", "", "TCGA-A1", ""]).tolist()
        [0, 1, 0, 2]
        >>> groups_of(["", ""]) is None
        True
    """
    if not any(patient):
        return None
    numbers: dict[str | int, int] = {}
    return np.array([numbers.setdefault(name or row, len(numbers)) for row, name in enumerate(patient)], np.int64)


def n_patients(patient: Sequence[str]) -> int:
    """Patients that are named; 0 where none is known.

    Examples:
        >>> n_patients(["TCGA-A1", "", "TCGA-A1"])
        1
    """
    return len({name for name in patient if name})
