"""What all arrays of instance ids have in common: checks, classes by pixels, and the way to an annotation.

docs/annotations.md gives the rules, `cellvit.data.annotations.raster_rules` the names under which they are counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64
from skimage.measure import label as connected_parts

from cellvit.data.annotations.annotation import Annotation
from cellvit.errors import ContractError

TINY_PX: Final = 10
"""Parts with fewer pixels (2 um across at 0.25 um per pixel) are traces of drawing; nuclei with fewer are counted."""

_SEMANTIC_PARTS: Final = 3
"""Mean number of parts per id from which the ids are classes and not nuclei; nuclei have hardly ever more than one."""

_MOST_CLASSES: Final = 100
"""As many classes as a data set may have."""

_LARGEST_ID: Final = 2**53
"""Largest integer up to which float64 holds every integer."""

_COLOUR_CHANNELS: Final = (3, 4)

Ids = Int64[np.ndarray, "h w"]
"""Instance ids of an image: 0 is background; ids may have gaps."""


def checked_ids(
    path: Path, array: np.ndarray, shape: tuple[int, int], *, what: str = "a label map", doubles: bool = False
) -> Ids:
    """The array as ids of the image with this `shape`; whole numbers in floating point only where `doubles` are usual.

    Raises:
        ContractError: The array is a colour picture, has another shape than the image, or holds anything but whole
            numbers from 0.
    """
    if array.ndim == 3 and array.shape[2] in _COLOUR_CHANNELS:
        raise ContractError(
            f"{path}: expected {what} with one number for each pixel (h, w), found a colour picture {array.shape}. "
            "Fix: export the ids themselves (8, 16 or 32 bit, one channel), and not a picture of them."
        )
    if array.ndim != 2:
        raise ContractError(
            f"{path}: expected {what} (h, w), found shape {array.shape}. Fix: save one plane for one image."
        )
    if array.shape != shape:
        swapped = " Height and width are exchanged." if array.shape == shape[::-1] else ""
        raise ContractError(
            f"{path}: expected {what} of the shape of its image {shape} (height, width), found {array.shape}.{swapped} "
            "Fix: check whether it belongs to this image, and was neither scaled nor cut."
        )
    if array.dtype.kind not in ("biuf" if doubles else "biu"):
        raise ContractError(
            f"{path}: expected {what} of whole numbers, found {array.dtype}. Fix: save it as 8, 16 or 32 bit integers: floating "
            "point can have been scaled or interpolated."
        )
    wrong = ~((array >= 0) & (array <= _LARGEST_ID))  # in this form, NaN is wrong too
    if array.dtype.kind == "f":
        wrong |= array != np.floor(array)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise ContractError(
            f"{path}: expected {what} of whole numbers from 0, found {array[row, column]} at row {row}, column {column}, and "
            f"{int(wrong.sum()) - 1} more such values. Fix: save ids from 1, with 0 for background."
        )
    return np.asarray(array).astype(np.int64)


def annotation_of_ids(
    path: Path,
    ids: Ids,
    classes: Mapping[int, str],
    counts: Counter[str],
    not_annotated: Bool[np.ndarray, "h w"] | None = None,
) -> Annotation:
    """Annotation with nuclei in the order of their ids; adds the rules for all arrays to the counts.

    Args:
        path: File that errors name.
        ids: Instance ids.
        classes: Class of each id; ids that are not in it have none.
        counts: What was dropped or changed so far.
        not_annotated: True where the image is not annotated. Nuclei with their centre there are left out; all others
            are annotated as a whole.

    Raises:
        ContractError: The ids are those of a binary mask or of classes, not of instances.
    """
    inside = ids != 0
    own, ranks = np.unique(ids[inside], return_inverse=True)
    instances = np.zeros(ids.shape, np.int32)
    instances[inside] = ranks + 1
    _check_and_count_parts(path, instances, counts)
    counts["missing_ids"] += int(own[-1]) - len(own) if len(own) else 0
    annotated = np.ones(ids.shape, bool)
    if not_annotated is not None:
        instances, kept, annotated = _annotated(instances, not_annotated, counts)
        own = own[kept]
    border = np.concatenate([instances[[0, -1]].ravel(), instances[:, [0, -1]].ravel()])
    counts["cut_by_border"] += len(np.unique(border[border != 0]))
    named = tuple(classes.get(number, "") for number in own.tolist())
    if classes:
        counts["without_class"] += named.count("")
    return Annotation(instances, named, annotated, {name: n for name, n in counts.items() if n})


def classes_of_most_pixels(path: Path, ids: Ids, class_map: Ids, counts: Counter[str]) -> dict[int, str]:
    """Class of each id by most of its pixels that have one; of equally many, the smaller. Without any, it is "".

    Raises:
        ContractError: The map of classes has more values than there can be classes.
    """
    inside = ids != 0
    counts["class_px_outside"] += int(np.count_nonzero(class_map[~inside]))
    own, row = np.unique(ids[inside], return_inverse=True)
    values, column = np.unique(class_map[inside], return_inverse=True)
    if len(values) > _MOST_CLASSES + 1:
        raise ContractError(
            f"{path}: expected a map of at most {_MOST_CLASSES} classes, found {len(values)} values: it may be a label map. "
            "Fix: name the file with the classes."
        )
    if not len(own):
        return {}
    table = np.bincount(row * len(values) + column, minlength=len(own) * len(values)).reshape(len(own), -1)
    votes, names = table[:, values != 0], [str(value) for value in values[values != 0].tolist()]
    named = votes.sum(axis=1) > 0
    counts["several_classes"] += int(((votes > 0).sum(axis=1) > 1).sum())
    counts["partly_without_class"] += int((named & (votes.sum(axis=1) < table.sum(axis=1))).sum())
    best = votes.argmax(axis=1) if names else np.zeros(len(own), np.int64)
    return {number: names[best[i]] if named[i] else "" for i, number in enumerate(own.tolist())}


class Painted(NamedTuple):
    """Masks painted into one map: ids are the positions of the masks plus one."""

    ids: Ids
    counts: Counter[str]


def paint(masks: Sequence[Int64[np.ndarray, " p"]], shape: tuple[int, int]) -> Painted:
    """Paint masks, given as ascending positions of pixels in the image; of two nuclei the smaller has the common pixels.

    So a small nucleus on a large one is not lost. Of equally large ones, the later has them.
    """
    last = {mask.tobytes(): index for index, mask in enumerate(masks)}
    kept = sorted(last.values())
    counts = Counter(duplicates=len(masks) - len(kept))
    ids, covered = np.zeros(shape, np.int64), np.zeros(shape, np.int32)
    for index in sorted(kept, key=lambda index: -len(masks[index])):
        ids.reshape(-1)[masks[index]] = index + 1
        covered.reshape(-1)[masks[index]] += 1
    left = np.bincount(ids.reshape(-1), minlength=len(masks) + 1)[1:]
    counts["px_in_several"] = int(np.count_nonzero(covered > 1))
    counts["covered"] = sum(not left[index] for index in kept)
    counts["overlapping"] = sum(bool(0 < left[index] < len(masks[index])) for index in kept)
    return Painted(ids, counts)


def _check_and_count_parts(path: Path, instances: Int32[np.ndarray, "h w"], counts: Counter[str]) -> None:
    n = int(instances.max(initial=0))
    if not n:
        return
    parts = connected_parts(instances, background=0, connectivity=2)
    size = np.bincount(parts.reshape(-1))[1:]
    owner = np.zeros(len(size) + 1, np.int64)
    owner[parts.reshape(-1)] = instances.reshape(-1)
    n_parts = np.bincount(owner[1:], minlength=n + 1)[1:]
    n_large = int((size >= TINY_PX).sum())
    if (n == 1 and n_large > 1) or n_large >= _SEMANTIC_PARTS * n:
        kind = "a binary mask" if n == 1 else "a map of classes"
        raise ContractError(
            f"{path}: expected instances, one id for each nucleus; found {kind} in place of instances: {n} "
            f"{'id' if n == 1 else 'ids'} with {n_large} separate parts. Fix: export a label map with an id for each nucleus. "
            "(Numbering the separate parts would make one nucleus of all that touch.)"
        )
    counts["several_parts"] += int((n_parts > 1).sum())
    counts["tiny"] += int((np.bincount(instances.reshape(-1))[1:] < TINY_PX).sum())


class _Kept(NamedTuple):
    instances: Int32[np.ndarray, "h w"]
    kept: Bool[np.ndarray, " n"]
    annotated: Bool[np.ndarray, "h w"]


def _annotated(
    instances: Int32[np.ndarray, "h w"], not_annotated: Bool[np.ndarray, "h w"], counts: Counter[str]
) -> _Kept:
    row, column = _centres(instances)
    kept = ~not_annotated[row, column]
    counts["not_annotated"] += int((~kept).sum())
    number = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)])[instances].astype(np.int32)
    annotated = (number > 0) | ~(not_annotated | (instances > 0))
    return _Kept(number, kept, annotated)


class _Centres(NamedTuple):
    row: Int64[np.ndarray, " n"]
    column: Int64[np.ndarray, " n"]


def _centres(instances: Int32[np.ndarray, "h w"]) -> _Centres:
    """The pixel nearest to the mean position of each nucleus."""
    rows, columns = np.nonzero(instances)
    owner = instances[rows, columns] - 1
    area: Float64[np.ndarray, " n"] = np.bincount(owner).astype(np.float64)
    return _Centres(*(np.rint(np.bincount(owner, where) / area).astype(np.int64) for where in (rows, columns)))
