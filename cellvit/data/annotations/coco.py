"""COCO JSON: a data set of one or several images, a list of results, or the predictions of MMDetection for one image."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.assembly import Reading, Role, Shape, assemble
from cellvit.data.annotations.bounded import read_json, shown
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.outlines import Outline, Part, Ring, ring_of, shapes_of
from cellvit.data.annotations.pixels import Pixels, pixels_of_mask
from cellvit.data.annotations.rle import RunLengthError, mask_of
from cellvit.errors import ContractError

_LISTED: Final = 20
"""Names of images in a message."""


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of the image: its segmentation as in the file, and its position there."""

    segmentation: object
    name: str
    where: str
    is_crowd: bool = False


def read_coco(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Objects of one image, which `place.member` chooses by its file name where the file has several.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not COCO JSON, or has no image of this name.
    """
    reading = Reading(path, shape, options, place)
    match read_json(path):
        case {"images": list(images), "annotations": list(annotations), "categories": list(categories)}:
            objects = _of_data_set(images, annotations, categories, reading)
        case {"masks": list(masks), "labels": list(labels), **rest}:
            objects = _of_predictions(masks, labels, rest.get("scores"), reading)
        case list(results):
            objects = _of_results(results, reading)
        case other:
            raise _refused(path, "the file", "images, annotations and categories, or a list of results", other)
    return assemble(_shapes(objects, reading), reading)


def _of_data_set(
    images: Sequence[Any], annotations: Sequence[Any], categories: Sequence[Any], reading: Reading
) -> Iterator[_Object]:
    image = _chosen(images, reading)
    names = {}
    for number, category in enumerate(categories):
        match category:
            case {"id": int(key), "name": str(name)}:
                names[key] = name
            case other:
                raise _refused(reading.path, f"category {number}", "an id and a name", other)
    for number, annotation in enumerate(annotations):
        where = f"annotation {number}"
        match annotation:
            case {"image_id": key, "category_id": int(category)} if category in names:
                if key == image and _is_good(annotation.get("score"), reading, where):
                    is_crowd = annotation.get("iscrowd") in (1, True)
                    yield _Object(annotation.get("segmentation"), names[category], where, is_crowd)
            case other:
                raise _refused(reading.path, where, "an image_id and the category_id of a category", other)


def _of_results(results: Sequence[Any], reading: Reading) -> Iterator[_Object]:
    for number, result in enumerate(results):
        match result:
            case {"image_id": int() | str(), "category_id": int() | str()}:
                pass
            case other:
                raise _refused(reading.path, f"result {number}", "an image_id, a category_id and a segmentation", other)
    image = _one_of(list(dict.fromkeys(str(result["image_id"]) for result in results)), reading) if results else ""
    for number, result in enumerate(results):
        where = f"result {number}"
        if str(result["image_id"]) == image and _is_good(result.get("score"), reading, where):
            yield _Object(result.get("segmentation"), str(result["category_id"]), where)


def _of_predictions(masks: Sequence[Any], labels: Sequence[Any], scores: object, reading: Reading) -> Iterator[_Object]:
    scored = [None] * len(masks) if scores is None else scores
    if not isinstance(scored, list) or not len(masks) == len(labels) == len(scored):
        raise _refused(reading.path, "masks, labels and scores", f"lists of {len(masks)} entries", labels)
    for number, (mask, label, score) in enumerate(zip(masks, labels, scored, strict=True)):
        if not isinstance(label, int | str):
            raise _refused(reading.path, f"label {number}", "a number or a name", label)
        if _is_good(score, reading, f"mask {number}"):
            yield _Object(mask, str(label), f"mask {number}")


def _chosen(images: Sequence[Any], reading: Reading) -> int | str:
    """The id of the image that is to be read."""
    by_name: dict[str, Mapping[str, Any]] = {}
    for number, image in enumerate(images):
        match image:
            case {"id": int() | str(), "file_name": str(name)} if name not in by_name:
                by_name[name] = image
            case other:
                raise _refused(reading.path, f"image {number}", "an id and a file_name of its own", other)
    image = by_name[_one_of(list(by_name), reading)]
    size, whole = (image.get("height"), image.get("width")), max(map(abs, reading.place.offset)) < 1
    if whole and None not in size and size != reading.shape:
        raise ContractError(
            f"{reading.path}: image {image['file_name']!r} has {size[1]} x {size[0]} px, but the image beside it has "
            f"{reading.shape[1]} x {reading.shape[0]} px. Fix: use the image that was annotated, in its size."
        )
    key: int | str = image["id"]
    return key


def _one_of(names: Sequence[str], reading: Reading) -> str:
    member = reading.place.member
    if member in names:
        return member
    if not member and len(names) == 1:
        return names[0]
    near = difflib.get_close_matches(member, names, n=1)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    raise ContractError(
        f"{reading.path}: expected the name of one of its {len(names)} images in the column `member` of tiles.csv, found "
        f"{member!r}. The file has: {', '.join(names[:_LISTED])}{more}." + (f" Did you mean {near[0]}?" if near else "")
    )


def _is_good(score: object, reading: Reading, where: str) -> bool:
    if score is None:
        return True
    if isinstance(score, bool) or not isinstance(score, int | float) or not score == score:
        raise _refused(reading.path, where, "a number as score", score)
    is_good = score >= reading.options.min_score
    reading.counts["low_score"] += not is_good
    return is_good


def _shapes(objects: Iterator[_Object], reading: Reading) -> Iterator[Shape]:
    """Objects as pixels; one file may have polygons and masks."""
    for one in objects:
        role: Role = "not_annotated" if one.is_crowd else reading.role_of(one.name)
        match one.segmentation:
            case None | []:
                reading.counts["without_outline"] += 1
            case list(polygons):
                parts = tuple(Part(_ring(numbers, reading.path, one.where)) for numbers in polygons)
                yield from shapes_of([Outline(parts, one.name, role)], reading)
            case dict(encoded):
                pixels = _pixels(encoded, reading, one.where)
                if pixels.n or role != "nucleus":
                    yield Shape(pixels, one.name, role)
                else:
                    reading.counts["too_small"] += 1
            case other:
                raise _refused(reading.path, one.where, "a segmentation of polygons or of runs", other)


def _ring(numbers: object, path: Path, where: str) -> Ring:
    if not isinstance(numbers, list) or len(numbers) % 2:
        raise _refused(path, where, "polygons as [x, y, x, y, ...]", numbers)
    return ring_of([numbers[at : at + 2] for at in range(0, len(numbers), 2)], path, where)


def _pixels(encoded: Mapping[str, object], reading: Reading, where: str) -> Pixels:
    try:
        mask, left, size = mask_of(encoded)
    except RunLengthError as error:
        raise _refused(reading.path, where, f"a mask as runs: {error}", encoded) from error
    x, y = reading.place.offset
    if ((x, y) == (0.0, 0.0) and size != reading.shape) or x != int(x) or y != int(y):
        raise ContractError(
            f"{reading.path}: {where}: expected a mask of the image's size {reading.shape} and a whole offset, found a mask of "
            f"{size} and the offset {reading.place.offset}. Fix: use the image that was annotated, in its size."
        )
    return pixels_of_mask(mask, reading.shape, top=-int(y), left=left - int(x))


def _refused(path: Path, where: str, expected: str, found: object) -> ContractError:
    return ContractError(
        f"{path}: {where}: expected {expected}, found {shown(found)}. Fix: export the annotations as COCO JSON again."
    )
