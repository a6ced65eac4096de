"""Names of the views of a tile from which features are extracted."""

from collections.abc import Sequence
from typing import Final

GEOMETRIES: Final = (
    *("identity", "rotate90", "rotate180", "rotate270"),
    *("flip", "flip_rotate90", "flip_rotate180", "flip_rotate270"),
)
"""The eight flips and rotations by number: a left-right flip where named, then a counterclockwise rotation."""

DIHEDRAL8: Final = "dihedral8"
"""Short for all eight, identity first."""


def geometries_named(names: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the named geometries, in order.

    Raises:
        ValueError: A name is unknown or is listed twice, or the first is not identity, which validation and evaluation
            read.

    Examples:
        >>> geometries_named(["identity", "flip"])
        (0, 4)
    """
    all_names = [each for name in names for each in (GEOMETRIES if name == DIHEDRAL8 else (name,))]
    unknown = [name for name in all_names if name not in GEOMETRIES]
    if unknown:
        raise ValueError(f"features.views: unknown {', '.join(unknown)}; views: {', '.join((DIHEDRAL8, *GEOMETRIES))}")
    if all_names[0] != GEOMETRIES[0] or len(set(all_names)) < len(all_names):
        raise ValueError(
            f"features.views={list(names)}: identity must be the first view, and each view may be listed once; "
            f"{DIHEDRAL8} already means all eight"
        )
    return tuple(GEOMETRIES.index(name) for name in all_names)
