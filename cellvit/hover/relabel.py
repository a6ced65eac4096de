"""Instance ids of a tile without gaps, and class channels painted into one instance map."""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, Integer, Num, UInt8

from cellvit.errors import ContractError
from cellvit.taxonomy import BACKGROUND_CHANNEL, NUCLEUS_CLASSES

Labels = Int32[np.ndarray, "h w"]
"""Nuclei of a tile, 1..n without gaps, 0 is background."""

TABLE_IDS: Final = 1 << 16
"""Ids below this (all 16-bit maps) are renumbered by a table, larger ones by sorting, which takes ten times as long."""

_LARGEST_ID: Final = 2**53
"""Largest integer up to which float64, the dtype of masks.npy, holds every integer."""


class Painted(NamedTuple):
    """Class channels of one tile painted into one map.

    Attributes:
        instances: 0 is background; nuclei are numbered 1..n without gaps, by channel and then by id.
        classes: `NucleusClass` of each pixel; 0 exactly where `instances` is 0.
        overlap_px: Number of pixels in more than one channel; the last of these channels gets the pixel.
        n_lost: Number of nuclei that later channels cover completely; they are not in the map.
    """

    instances: Int32[np.ndarray, "h w"]
    classes: UInt8[np.ndarray, "h w"]
    overlap_px: int
    n_lost: int


def relabel(instances: Integer[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Number the nuclei 1..n without gaps, in the order of their ids; background stays 0.

    Examples:
        >>> relabel(np.array([[0, 7, 7], [300, 0, 5]]))
        array([[0, 2, 2],
               [3, 0, 1]], dtype=int32)
    """
    inside = np.flatnonzero(instances != 0)  # several times faster than on the integers themselves
    labels = np.zeros(instances.size, np.int32)
    labels[inside] = renumber(instances.reshape(-1)[inside])[1]
    return labels.reshape(instances.shape)


def renumber(ids: Integer[np.ndarray, " p"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " p"]]:
    """Sorted ids other than 0, and for each pixel the position of its id among them plus one (0 stays 0).

    Examples:
        >>> labels, numbers = renumber(np.array([7, 0, 3, 7]))
        >>> labels.tolist(), numbers.tolist()
        ([3, 7], [2, 0, 1, 2])
    """
    if ids.size and (ids.max() >= TABLE_IDS or ids.min() < 0):
        inside = np.flatnonzero(ids)
        distinct, ranks = np.unique(ids[inside], return_inverse=True)
        numbers = np.zeros(len(ids), np.int64)
        numbers[inside] = ranks + 1
        return distinct.astype(np.int64), numbers
    index = ids.astype(np.intp)
    seen = np.zeros(int(ids.max(initial=0)) + 1, bool)
    seen[index] = True
    seen[0] = False
    labels = np.flatnonzero(seen)
    without_gaps = len(labels) == len(seen) - 1
    return labels, index if without_gaps else seen.cumsum()[index]


def paint_channels(masks: Num[np.ndarray, "h w 5"]) -> Painted:
    """Paint PanNuke's five class channels into one map, later channels over earlier ones.

    The official metric resolves overlaps in this way (Gamper et al. 2020, arXiv 2003.10778). The same id in two
    channels is two nuclei; ids may have gaps. Pixels and nuclei that are painted over are counted in the result.

    Raises:
        ContractError: The array is not (h, w, 5), or an id is negative, not finite or not a whole number.
    """
    _check_masks(masks)
    claimed = masks != 0
    row, column = np.nonzero(claimed.any(axis=2))
    n_channels = masks.shape[2]
    channel = n_channels - 1 - np.argmax(claimed[row, column, ::-1], axis=1)  # the last channel with a nucleus here

    # Keys differ between nuclei of different channels, and sort by channel, then by id.
    ids = masks.astype(np.int64)
    keys = ids + np.arange(n_channels) * (ids.max(initial=0) + 1)
    visible, labels = np.unique(keys[row, column, channel], return_inverse=True)
    instances = np.zeros(masks.shape[:2], np.int32)
    instances[row, column] = labels + 1
    classes = np.zeros(masks.shape[:2], np.uint8)
    classes[row, column] = channel + 1

    return Painted(
        instances=instances,
        classes=classes,
        overlap_px=int(np.count_nonzero(claimed.sum(axis=2) > 1)),
        n_lost=len(np.unique(keys[claimed])) - len(visible),
    )


def _check_masks(masks: Num[np.ndarray, "h w 5"]) -> None:
    n_channels = len(NUCLEUS_CLASSES)
    if masks.ndim != 3 or masks.shape[2] != n_channels:
        raise ContractError(
            f"masks of a tile must be (h, w, {n_channels}), one channel per class, found shape {masks.shape}. Take "
            f"channels 0 to {n_channels - 1} of masks.npy: channel {BACKGROUND_CHANNEL} is background, not a class."
        )
    wrong = ~((masks >= 0) & (masks <= _LARGEST_ID))  # in this form, NaN is wrong too
    if masks.dtype.kind == "f":
        wrong |= masks != np.floor(masks)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ContractError(
            f"masks must hold whole instance ids from 0 to {_LARGEST_ID}, found {masks[where]} at "
            f"(row, column, channel) {where} and {int(wrong.sum()) - 1} more such values. "
            "The file is damaged or is not a masks.npy: download it again."
        )
