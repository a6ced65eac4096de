"""What an instance map says of each of its nuclei: label, centroid, class."""

from typing import Final

import numpy as np
from jaxtyping import Float64, Int64, Integer

from cellvit.errors import ContractError
from cellvit.hover.renumber import renumber
from cellvit.taxonomy import NucleusClass

N_CLASSES: Final = len(NucleusClass)
"""Classes of a pixel, background included."""

InstanceMap = Integer[np.ndarray, "h w"]
"""Instance ids, 0 is background; gaps and any integer type are fine, a boolean mask is one nucleus."""


def check_instance_map(name: str, instances: InstanceMap) -> None:
    """Refuse what is no instance map.

    Raises:
        ContractError: Not two axes, not integers, or an id below zero.
    """
    check_kind(name, instances)
    check_ids(name, instances)


def check_kind(name: str, instances: InstanceMap) -> None:
    """Refuse what does not have two axes of integers.

    Raises:
        ContractError: Not two axes, or not integers.
    """
    if instances.ndim != 2 or instances.dtype.kind not in "biu":
        raise ContractError(
            f"{name}: expected an instance map, (h, w) integers, found shape {instances.shape} of {instances.dtype}. "
            "Pass one tile at a time, and label the nuclei of a probability map first (cellvit.hover.decode.segment)."
        )


def check_ids(name: str, ids: Integer[np.ndarray, "..."]) -> None:
    """Refuse ids that cannot be; those of one pixel a stretch stand for all.

    Raises:
        ContractError: An id below zero.
    """
    if ids.dtype.kind == "i" and ids.size and ids.min() < 0:
        raise ContractError(
            f"{name}: expected ids of 0 (background) and above, found {ids.min()}. "
            "Set pixels that carry a marker (such as watershed lines at -1) to 0."
        )


def check_same_shape(names: str, first: np.ndarray, second: np.ndarray) -> None:
    """Refuse two maps that do not lie on the same pixels.

    Raises:
        ContractError: The shapes differ.
    """
    if first.shape != second.shape:
        raise ContractError(
            f"{names}: expected two maps of one shape, found {first.shape} and {second.shape}. "
            "Bring both to the resolution of the tile (nearest neighbour for ids and classes)."
        )


def majority_classes(instances: InstanceMap, classes: InstanceMap) -> Int64[np.ndarray, " n"]:
    """Class of each nucleus, in the order of its labels: the most frequent nuclear class of its pixels.

    Background pixels do not vote, as in HoVer-Net's post-processing (Graham et al. 2019): a nucleus
    is of class 0 only where no pixel of it has a nuclear class. The smaller class number wins a tie.

    Raises:
        ContractError: Shapes differ, or `classes` is not a map of 0..5.

    Examples:
        >>> majority_classes(np.array([[4, 4, 4, 9]]), np.array([[0, 0, 2, 5]])).tolist()
        [2, 5]
    """
    check_instance_map("instances", instances)
    check_same_shape("instances and classes", instances, classes)
    pixels = np.flatnonzero(instances > 0)
    labels, places = renumber(instances.ravel()[pixels])
    return vote(places, checked_classes(classes.ravel()[pixels]), n_nuclei=len(labels))


def checked_classes(classes: Integer[np.ndarray, " p"]) -> Integer[np.ndarray, " p"]:
    """The classes themselves.

    Raises:
        ContractError: Not integers in 0..5.
    """
    if classes.dtype.kind not in "biu" or (classes.size and not 0 <= classes.min() <= classes.max() < N_CLASSES):
        found = f"{classes.min()}..{classes.max()}" if classes.size else "nothing"
        raise ContractError(
            f"class map: expected integers in 0..{N_CLASSES - 1} (0 is background), found {found} of {classes.dtype}. "
            "A class is PanNuke's channel plus one (cellvit.taxonomy.NucleusClass)."
        )
    return classes


def vote(
    places: Int64[np.ndarray, " p"],
    classes: Integer[np.ndarray, " p"],
    weights: Float64[np.ndarray, " p"] | None = None,
    *,
    n_nuclei: int,
) -> Int64[np.ndarray, " n"]:
    """Most frequent nuclear class of each nucleus.

    Args:
        places: Nuclei, 1..n, of pixels or stretches of pixels; those of 0 do not vote.
        classes: Their classes, 0..5.
        weights: Votes of each; 1 where left out.
    """
    votes = np.bincount(places * N_CLASSES + classes, weights, (n_nuclei + 1) * N_CLASSES)
    votes = votes.reshape(n_nuclei + 1, N_CLASSES)
    votes[:, NucleusClass.BACKGROUND] = 0
    winner: Int64[np.ndarray, " n"] = votes[1:].argmax(axis=1)
    return winner


def centroids(instances: InstanceMap) -> Float64[np.ndarray, "n 2"]:
    """Mean (row, column) of the pixels of each nucleus in pixels, in the order of its labels.

    Raises:
        ContractError: Not an instance map.

    Examples:
        >>> centroids(np.array([[0, 3, 3], [0, 0, 0], [1, 0, 0]]))
        array([[2. , 0. ],
               [0. , 1.5]])
    """
    check_instance_map("instances", instances)
    pixels = np.flatnonzero(instances > 0)
    labels, places = renumber(instances.ravel()[pixels])
    row, column = np.divmod(pixels, instances.shape[1])
    sums = np.stack([np.bincount(places - 1, at, minlength=len(labels)) for at in (row, column)], axis=1)
    means: Float64[np.ndarray, "n 2"] = sums / np.bincount(places - 1, minlength=len(labels))[:, None]
    return means
