"""One image of a user's data set with its nuclei: image, annotation and description joined."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.read import kind_of, read_annotation
from cellvit.data.cutting import SMALLEST_PX
from cellvit.data.images import read_image
from cellvit.data.own_data import OwnData
from cellvit.errors import ContractError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.own_description import COUNTS_NOWHERE, DESCRIPTION, REFUSED, OwnDescription
from cellvit.formats.own_tiles import TABLE, OwnTile

MPP_TOLERANCE: Final = 0.02
"""Relative difference of two statements of a resolution that does not count as a contradiction: people round 0.2527 to 0.25."""


@dataclass(frozen=True, slots=True)
class OwnImage:
    """An annotated image.

    Attributes:
        pixels: RGB, 0..255.
        instances: Nuclei 1..n without gaps, numbered by class, then by their order in the annotation; 0 is background.
        classes: Number of the class of each pixel, 0 is background; `NOT_ANNOTATED` where the pixel counts nowhere, and
            `instances` is 0.
        mpp: Micrometres per pixel of the image.
        mpp_source: Where it was stated: tiles.csv, dataset.yaml, or the entry of the image file.
        counts: Everything that was dropped or changed, by the name of the rule, without zeros.
        row: The image's line of tiles.csv.
        written: Number of nuclei by class as the annotation writes it; empty text for nuclei without one.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    instances: Int32[np.ndarray, "h w"]
    classes: UInt8[np.ndarray, "h w"]
    mpp: float
    mpp_source: str
    counts: Mapping[str, int]
    row: OwnTile
    written: Mapping[str, int]


def read_own_image(own: OwnData, row: OwnTile) -> OwnImage:
    """Read the image and the annotation of a line of tiles.csv.

    Raises:
        MissingInputError: A file does not exist.
        ContractError: A file cannot be read, the image is too small, its resolution is not known or stated differently in
            two places, or a nucleus has no class or an unknown one where dataset.yaml does not allow it.
    """
    path = own.root / row.image
    is_array = path.suffix == ".npy"
    image = read_image(path, member=row.member if is_array else "")
    height, width = image.pixels.shape[:2]
    if min(height, width) < SMALLEST_PX:
        raise ContractError(
            f"{path}: images must have at least {SMALLEST_PX} px on each side, found {width} x {height} px. "
            f"Fix: remove line {row.line} of {own.root / TABLE}, or join the image with its neighbours."
        )
    mpp, source = _resolution(own, row, image.mpp, image.mpp_source)
    file = own.root / row.annotation
    annotation = read_annotation(file, (height, width), own.kind or kind_of(file), own.options_of(row), own.place(row))
    numbers, counts = _class_numbers(own, row, annotation)
    instances, classes = _joined(annotation, numbers)
    counts = counts + Counter(annotation.counts) + Counter(image.counts)
    counts["without_class_file"] += own.options_of(row) != own.options
    return OwnImage(image.pixels, instances, classes, mpp, source, +counts, row, Counter(annotation.classes))


def _resolution(own: OwnData, row: OwnTile, in_file: float | None, entry: str) -> tuple[float, str]:
    """Micrometres per pixel and where they were stated; all places that state them must agree."""
    path = own.root / row.image
    stated = (
        (TABLE, f"{own.root / TABLE}, line {row.line}", row.mpp),
        (DESCRIPTION, f"{own.root / DESCRIPTION}", own.description.mpp),
        (entry, f"{path}, {entry}", in_file),
    )
    known = [(place, where, mpp) for place, where, mpp in stated if mpp is not None]
    if not known:
        raise ContractError(
            f"{path}: micrometres per pixel are not known: the file does not state them, nor do tiles.csv and dataset.yaml. "
            f"Fix: write `mpp` into {own.root / DESCRIPTION}, or into a column of {TABLE} if images differ."
        )
    for (_, one, first), (_, other, second) in combinations(known, 2):
        if abs(first - second) > MPP_TOLERANCE * max(first, second):
            raise ContractError(
                f"{path}: two places contradict each other about micrometres per pixel:\n  {one}: {first:g}\n"
                f"  {other}: {second:g}\nFix: find out which is right and correct the other. If images differ, write "
                f"`mpp: null` into {DESCRIPTION} and the value of each image into {TABLE}. If the image was resampled, the "
                "entry in its file may be that of the original."
            )
    place, _, mpp = known[0]
    return mpp, place


def _class_numbers(own: OwnData, row: OwnTile, annotation: Annotation) -> tuple[Int64[np.ndarray, " n"], Counter[str]]:
    """Number of the class of each nucleus, and counts of those that have none in the description."""
    description, counts = own.description, Counter[str]()
    number_of: dict[str, int] = dict(description.class_numbers)
    for name, count in Counter(annotation.classes).items():
        if name in number_of:
            continue
        field, rule = ("unknown", "unknown_class") if name else ("unlabelled", "unlabelled")
        fallback: str = getattr(description, field)
        if fallback == REFUSED:
            raise _refused(own, row, field, name, count)
        number_of[name] = description.fallback_number(fallback)
        counts[rule] += count
        if fallback == COUNTS_NOWHERE:
            counts["class_not_annotated"] += count
    return np.array([number_of[name] for name in annotation.classes], np.int64), counts


def _refused(own: OwnData, row: OwnTile, field: str, name: str, count: int) -> ContractError:
    listed = ", ".join(map(repr, own.description.class_numbers))
    what = f"of the class {name!r}, which is not listed" if name else "without a class"
    add = f"add {name!r} to the `names` of a class in {own.root / DESCRIPTION}, or " if name else ""
    return ContractError(
        f"{own.root / row.annotation}: found {count} nuclei {what}; the classes are {listed}. Fix: {add}set `{field}` in "
        f'{own.root / DESCRIPTION} to one of {_names(own.description)}, or "{COUNTS_NOWHERE}" (then they count nowhere).'
    )


def _names(description: OwnDescription) -> str:
    return ", ".join(entry.name for entry in description.classes)


def _joined(
    annotation: Annotation, numbers: Int64[np.ndarray, " n"]
) -> tuple[Int32[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Instances by class and then by label, as the channels of PanNuke are numbered; and the class of each pixel."""
    instances = np.where(annotation.annotated, annotation.instances, 0)
    is_counted = np.zeros(len(numbers) + 1, bool)
    is_counted[instances] = True
    is_counted &= np.concatenate([[0], numbers]) != NOT_ANNOTATED
    counted = np.flatnonzero(is_counted[1:])
    order = counted[np.argsort(numbers[counted], kind="stable")]
    label = np.zeros(len(numbers) + 1, np.int32)
    label[order + 1] = np.arange(1, len(order) + 1)
    classes = np.concatenate([[0], numbers]).astype(np.uint8)[instances]
    classes[~annotation.annotated] = NOT_ANNOTATED
    return label[instances], classes
