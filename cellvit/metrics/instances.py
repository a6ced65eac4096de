"""Checks of instance and class maps, and the class of a nucleus by the votes of its pixels."""

from typing import Final

import numpy as np
from jaxtyping import Float64, Int64, Integer

from cellvit.errors import ContractError
from cellvit.taxonomy import NUCLEUS_CLASSES

PANNUKE_CLASSES: Final = len(NUCLEUS_CLASSES)
"""Nuclear classes of PanNuke, where the number of classes is not given."""

InstanceMap = Integer[np.ndarray, "h w"]
"""Instance ids of any integer type, possibly with gaps; 0 is background. A boolean mask is one nucleus."""


def check_instance_map(name: str, instances: InstanceMap) -> None:
    """Raise ContractError if an array does not have two axes, or is not of integers."""
    if instances.ndim != 2 or instances.dtype.kind not in "biu":
        raise ContractError(
            f"{name}: expected an instance map, (h, w) integers, found shape {instances.shape} of {instances.dtype}. "
            "Pass one tile at a time, and label the nuclei of a probability map first (cellvit.hover.decode.segment)."
        )


def check_ids(name: str, ids: Integer[np.ndarray, "..."]) -> None:
    """Raise ContractError if an id is below 0."""
    if ids.dtype.kind == "i" and ids.size and ids.min() < 0:
        raise ContractError(
            f"{name}: expected ids of 0 (background) and above, found {ids.min()}. "
            "Set pixels that carry a marker (such as watershed lines at -1) to 0."
        )


def check_same_shape(names: str, first: np.ndarray, second: np.ndarray) -> None:
    """Raise ContractError if two maps have different shapes."""
    if first.shape != second.shape:
        raise ContractError(
            f"{names}: expected two maps of one shape, found {first.shape} and {second.shape}. "
            "Bring both to the resolution of the tile (nearest neighbour for ids and classes)."
        )


def checked_classes(classes: Integer[np.ndarray, " p"], n_classes: int = PANNUKE_CLASSES) -> Integer[np.ndarray, " p"]:
    """Return the classes; raise ContractError if they are not integers from 0 to the number of nuclear classes."""
    if classes.dtype.kind not in "biu" or (classes.size and not 0 <= classes.min() <= classes.max() <= n_classes):
        found = f"{classes.min()}..{classes.max()}" if classes.size else "nothing"
        raise ContractError(
            f"class map: expected integers in 0..{n_classes} (0 is background), found {found} of {classes.dtype}. "
            "The number of a class is its place in the data set plus one (for PanNuke: its channel plus one)."
        )
    return classes


def vote(
    nuclei: Int64[np.ndarray, " r"],
    classes: Integer[np.ndarray, " r"],
    votes: Float64[np.ndarray, " r"],
    *,
    n_nuclei: int,
    n_classes: int = PANNUKE_CLASSES,
) -> Int64[np.ndarray, " n"]:
    """Most frequent nuclear class of each nucleus; the smaller class in a tie, 0 without any nuclear vote.

    Background pixels do not vote, as in HoVer-Net's post-processing (Graham et al. 2019).

    Args:
        nuclei: Nucleus of each run of pixels, 1..n; runs of 0 do not vote.
        classes: Class of each run, 0 to `n_classes`.
        votes: Number of votes (pixels) of each run.

    Examples:
        >>> vote(np.array([1, 1, 2]), np.array([0, 2, 5]), np.array([9.0, 2.0, 1.0]), n_nuclei=2)
        array([2, 5])
    """
    side = n_classes + 1
    table = np.bincount(nuclei * side + classes, votes, (n_nuclei + 1) * side).reshape(n_nuclei + 1, side)
    table[:, 0] = 0
    winner: Int64[np.ndarray, " n"] = table[1:].argmax(axis=1)
    return winner
