"""Folders with one binary mask for each nucleus, as NuInsSeg and the Data Science Bowl 2018 have them."""

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int64

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.labels import annotation_of_ids, paint
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.pixel_maps import check_single, not_annotated_region, read_mask
from cellvit.errors import ContractError, MissingInputError

SUFFIXES: Final = (".png", ".tif", ".tiff")

_INVERTED: Final = 0.9
"""A nucleus that fills this share of the image is the background of an inverted mask."""

_OF_THE_SYSTEM: Final = ("Thumbs.db", "desktop.ini")


def mask_files(path: Path) -> list[Path]:
    """Masks of a folder, by name; hidden files and those of the operating system are left out.

    Raises:
        MissingInputError: The folder does not exist.
        ContractError: It is not a folder, is empty, or has other files.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: the folder of masks does not exist. Fix: correct its name.")
    if not path.is_dir():
        raise ContractError(
            f"{path}: expected a folder with one mask for each nucleus, found a file. Fix: name the folder."
        )
    files = sorted(file for file in path.iterdir() if not file.name.startswith(".") and file.name not in _OF_THE_SYSTEM)
    other = [file.name for file in files if file.suffix.lower() not in SUFFIXES or not file.is_file()]
    if other or not files:
        raise ContractError(
            f"{path}: expected masks ({', '.join(SUFFIXES)}) and nothing else, found {', '.join(other[:5]) or 'an empty folder'}. "
            "Fix: keep only the masks of this image in the folder; an image without nuclei has one mask that is 0 everywhere."
        )
    return files


def read_masks(path: Path, shape: tuple[int, int], options: Options, place: Place) -> Annotation:
    """Nuclei of a folder of masks, in the order of the names of the files.

    Raises:
        MissingInputError: The folder does not exist.
        ContractError: A file is not a binary mask with the shape of the image.
    """
    check_single(path, place)
    masks = [_pixels(file, shape) for file in mask_files(path)]
    nuclei = [mask for mask in masks if len(mask)]
    ids, counts = paint(nuclei, shape)
    counts["empty_masks"] = len(masks) - len(nuclei)
    order = np.unique(ids)
    ids = np.searchsorted(order[order != 0], ids, side="right")  # masks that were left out do not count as missing ids
    return annotation_of_ids(path, ids, {}, Counter(counts), not_annotated_region(path, shape, options))


def _pixels(path: Path, shape: tuple[int, int]) -> Int64[np.ndarray, " p"]:
    inside = np.flatnonzero(read_mask(path, shape, what="a mask of one nucleus"))
    if len(inside) > _INVERTED * shape[0] * shape[1]:
        raise ContractError(
            f"{path}: expected a mask of one nucleus, found {len(inside) / (shape[0] * shape[1]):.0%} of the image in it: "
            "nucleus and background may be exchanged. Fix: invert the mask."
        )
    return inside
