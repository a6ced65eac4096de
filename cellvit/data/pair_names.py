"""What the names of files and folders say: images, annotations, files of classes, and which of them belong together."""

import re
from pathlib import PurePosixPath
from typing import Final

Key = tuple[tuple[str, ...], str]

IMAGE_FOLDERS: Final = ("images", "image", "img", "imgs", "tissue images", "tiles", "patches", "he", "rgb")
ANNOTATION_FOLDERS: Final = (
    *("labels", "label", "masks", "mask", "annotations", "annotation", "geojson", "json", "xml", "mat", "instances"),
    *("inst", "gt", "ground_truth", "label masks", "segmentations", "rois", "overlays_mat"),
)
CLASS_FOLDERS: Final = ("classes", "class", "types", "type")
"""Names of folders, in lower case; parallel folders differ in these alone."""

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".jp2", ".tif", ".tiff", ".svs")
_ANNOTATION_SUFFIXES: Final = (".geojson", ".json", ".xml", ".mat", ".npy", ".zip", ".roi", ".gz")
CLASS_SUFFIXES: Final = (".png", ".tif", ".tiff", ".npy", ".csv")
_ENDING: Final = re.compile(
    r"[ ._-](cp_masks?|png_masks?|binary_masks?|masks?|labels?|seg|segmentation|inst|instances?|inst_map|gt|nuclei|annotations?"
    r"|detections?|roiset|rois?|geojson|png|tiff?|jpe?g|svs|ome)$",
    re.IGNORECASE,
)
_CLASS_ENDING: Final = re.compile(r"[ ._-](class|classes|types?|type_map|class_map)$", re.IGNORECASE)
_MASKS: Final = re.compile(r"(^|[ ._-])(masks?|labels?|annotations?|maps?)([ ._-]|$)", re.IGNORECASE)
"""A word in the names of folders that hold no images of tissue, as "mask binary"."""

_CROP: Final = re.compile(r" ?\[(?:d=(?P<d>[\d.]+),)?x=(?P<x>\d+),y=(?P<y>\d+)[^\]]*\]$")
"""Ending that QuPath gives to images that it cuts from a slide: the position, and the reduction if there is one."""


def is_image(path: str) -> bool:
    """True if a file may be an image of tissue, by its name."""
    pure = PurePosixPath(path)
    if pure.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    stem = pure.stem.removesuffix(".ome")
    is_marked = bool(_ENDING.search(stem) or _CLASS_ENDING.search(stem))
    folders = pure.parts[:-1]
    is_among_masks = any(
        part.lower() in (*ANNOTATION_FOLDERS, *CLASS_FOLDERS) or _MASKS.search(part) for part in folders
    )
    return not is_marked and not is_among_masks


def is_annotation(path: str) -> bool:
    """True if a file may be an annotation, by its name."""
    pure = PurePosixPath(path)
    folders = {part.lower() for part in pure.parts[:-1]}
    is_of_classes = bool(_CLASS_ENDING.search(pure.stem)) or bool(folders & {*CLASS_FOLDERS})
    is_image_array = pure.suffix == ".npy" and pure.stem.lower() == "images"
    suffixes = (*IMAGE_SUFFIXES, *_ANNOTATION_SUFFIXES)
    return pure.suffix.lower() in suffixes and not is_of_classes and not is_image_array


def position_of(image: str) -> tuple[int, int] | None:
    """Position in its slide of an image that QuPath cut, in the resolution of the slide; None for any other."""
    crop = _CROP.search(PurePosixPath(image).stem)
    return (int(crop["x"]), int(crop["y"])) if crop and float(crop["d"] or 1) == 1 else None


def key_of(path: str) -> Key:
    """Folders without the names that parallel folders differ in, and the name without its endings."""
    pure = PurePosixPath(path)
    is_file = pure.suffix.lower() in (
        *IMAGE_SUFFIXES,
        *_ANNOTATION_SUFFIXES,
    )  # folders of masks may have dots in their names
    return parents_of(path), base_of(pure.stem if is_file else pure.name)


def parents_of(path: str) -> tuple[str, ...]:
    """Folders of a file without the names that parallel folders differ in."""
    names = {*IMAGE_FOLDERS, *ANNOTATION_FOLDERS}
    return tuple(part for part in PurePosixPath(path).parts[:-1] if part.lower() not in names)


def base_of(stem: str) -> str:
    """A name without the endings that tell an annotation from its image."""
    crop = _CROP.search(stem)
    if crop and float(crop["d"] or 1) == 1:
        stem = stem[: crop.start()]
    while (shorter := _ENDING.sub("", stem)) != stem:
        stem = shorter
    return stem
