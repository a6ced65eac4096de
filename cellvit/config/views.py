"""Names of the views of a tile that features are extracted from."""

from collections.abc import Sequence
from typing import Final

GEOMETRIES: Final = (
    "identity",
    "rotate90",
    "rotate180",
    "rotate270",
    "flip",
    "flip_rotate90",
    "flip_rotate180",
    "flip_rotate270",
)
"""The eight flips and rotations by number: a flip from left to right where named, then quarter turns against the clock."""

DIHEDRAL8: Final = "dihedral8"
"""Stands for all eight, identity first."""


def geometries_named(names: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the named geometries, in order.

    Raises:
        ValueError: A name is unknown or stands twice, or identity is not the first: validation and evaluation read it.

    Examples:
        >>> geometries_named(["identity", "flip"])
        (0, 4)
    """
    whole = [each for name in names for each in (GEOMETRIES if name == DIHEDRAL8 else (name,))]
    unknown = [name for name in whole if name not in GEOMETRIES]
    if unknown:
        raise ValueError(
            f"features.views: unknown {', '.join(unknown)}; views are {', '.join((DIHEDRAL8, *GEOMETRIES))}"
        )
    if whole[0] != GEOMETRIES[0] or len(set(whole)) < len(whole):
        raise ValueError(
            f"features.views={list(names)}: identity must be the first view, and each may stand once; "
            f"{DIHEDRAL8} is all eight by itself"
        )
    return tuple(GEOMETRIES.index(name) for name in whole)
