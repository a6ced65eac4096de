"""NumPy files of data sets and programs: Cellpose, CellViT, PanNuke, CoNIC."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from cellvit.data import npy
from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.labels import Ids, annotation_of_ids, checked_ids, classes_of_most_pixels
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.pixel_maps import check_single, not_annotated_region
from cellvit.errors import ContractError

_CONIC_CHANNELS: Final = 2


def read_cellpose(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Nuclei of a `_seg.npy` of Cellpose: the array `masks`. It has no classes.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is damaged, holds anything but arrays, or has no masks of the shape of the image.
    """
    check_single(path, place)
    ids = checked_ids(path, _array(path, npy.read_pickled_dictionary(path), "masks"), shape, what="masks")
    return annotation_of_ids(path, ids, {}, Counter(), not_annotated_region(path, shape, options))


def read_cellvit(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Nuclei of a dictionary with `inst_map` and `type_map`, as CellViT's own training data and predictions have them.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is damaged, holds anything but arrays, or maps that do not fit the image.
    """
    check_single(path, place)
    values = npy.read_pickled_dictionary(path)
    ids = checked_ids(path, _array(path, values, "inst_map"), shape, what="inst_map", doubles=True)
    counts: Counter[str] = Counter()
    classes: dict[int, str] = {}
    if "type_map" in values:
        type_map = checked_ids(path, _array(path, values, "type_map"), shape, what="type_map", doubles=True)
        classes = classes_of_most_pixels(path, ids, type_map, counts)
    return annotation_of_ids(path, ids, classes, counts, not_annotated_region(path, shape, options))


def read_pannuke(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Nuclei of one row of masks (n, h, w, classes + 1): ids by class, and the background last, as PanNuke has them.

    The class is the number of the channel from 1. The same id in two channels is two nuclei. Later channels have the
    pixels of earlier ones, as in the official metric (Gamper et al. 2020, arXiv 2003.10778).

    Raises:
        MissingInputError: The file does not exist.
        ContractError: The array is of another layout, or has no such row.
    """
    check_single(path, place, member=True)
    masks = _row(path, place.member, "masks (n, h, w, classes + 1)")
    if masks.shape[2] < 2:
        raise ContractError(
            f"{path}: expected masks (n, h, w, classes + 1) with the background last, found {masks.shape[2]} channel in a row. "
            "Fix: add the channel of the background, or name another format of annotations."
        )
    channels = [_channel(path, masks, channel, shape) for channel in range(masks.shape[2] - 1)]
    background = _channel(path, masks, masks.shape[2] - 1, shape)
    if background.max(initial=0) > 1:
        raise ContractError(
            f"{path}: channel {len(channels)} must be the background, 0 or 1, found {background.max()} in row {place.member or 0}. "
            "Fix: check the order of the channels: classes, then background."
        )
    step = 1 + max(int(ids.max(initial=0)) for ids in channels)
    ids = np.zeros(shape, np.int64)
    for channel, own in enumerate(channels):
        ids[own > 0] = (own + channel * step)[own > 0]
    covered = sum((own > 0).astype(np.int64) for own in channels)
    visible = np.unique(ids[ids > 0])
    counts = Counter(
        px_in_several=int(np.count_nonzero(covered > 1)),
        covered=sum(len(np.unique(own[own > 0])) for own in channels) - len(visible),
        background_contradictions=int(np.count_nonzero((ids > 0) == (background == 1))),
    )
    classes = {number: str((number - 1) // step + 1) for number in visible.tolist()}
    found = annotation_of_ids(path, ids, classes, counts, not_annotated_region(path, shape, options))
    return _without_missing_ids(found)


def read_conic(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Nuclei of one row of labels (n, h, w, 2): ids and classes, as CoNIC has them.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: The array is of another layout, or has no such row.
    """
    check_single(path, place, member=True)
    labels = _row(path, place.member, "labels (n, h, w, 2)")
    if labels.shape[2] != _CONIC_CHANNELS:
        raise ContractError(
            f"{path}: expected labels (n, h, w, 2) with ids and classes, found {labels.shape[2]} channels. "
            "Fix: name the right format; masks of PanNuke have a channel for each class."
        )
    ids, class_map = (_channel(path, labels, channel, shape) for channel in range(_CONIC_CHANNELS))
    counts: Counter[str] = Counter()
    classes = classes_of_most_pixels(path, ids, class_map, counts)
    return annotation_of_ids(path, ids, classes, counts, not_annotated_region(path, shape, options))


def _array(path: Path, values: dict[str, Any], name: str) -> np.ndarray:
    array = values.get(name)
    if not isinstance(array, np.ndarray):
        raise ContractError(
            f"{path}: expected the array {name!r} in the dictionary, found {', '.join(values) or 'nothing'}. "
            "Fix: save the file again, or name its format."
        )
    return array


def _row(path: Path, member: str, expected: str) -> np.ndarray:
    array = npy.open_array(path)
    if array.ndim == 3 and not member:
        array, row = array[None], 0
    elif array.ndim == 4:
        row = npy.row_of(path, member, len(array))
    else:
        raise ContractError(f"{path}: expected {expected}, found shape {array.shape}. Fix: name the right format.")
    return np.array(array[row])


def _channel(path: Path, row: np.ndarray, channel: int, shape: tuple[int, int]) -> Ids:
    return checked_ids(path, row[..., channel], shape, what=f"channel {channel}", doubles=True)


def _without_missing_ids(annotation: Annotation) -> Annotation:
    """The numbers of PanNuke's channels were joined here, so that their gaps say nothing of the file."""
    counts = {name: n for name, n in annotation.counts.items() if name != "missing_ids"}
    return Annotation(annotation.instances, annotation.classes, annotation.annotated, counts)
