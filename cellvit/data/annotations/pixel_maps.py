"""Files that hold one number for each pixel of an image: label maps, maps of classes, masks, not annotated regions."""

from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from jaxtyping import Bool

from cellvit.data import npy
from cellvit.data.annotations.labels import Ids, checked_ids
from cellvit.data.annotations.options import Options, Place
from cellvit.data.opening import check_file, described, readable
from cellvit.data.pillow import PNG, open_picture, png_colour_type, png_depth
from cellvit.data.tiff import SIGNATURES, read_tiff
from cellvit.errors import ContractError, MissingInputError

_PNG_COLOURS: Final = (2, 4, 6)  # RGB, and grey or RGB with alpha
_EXPECTED: Final = "a map of whole numbers (PNG, TIFF or NPY)"
_FOLDER_ENDINGS: Final = ("_png_masks", "_masks")  # of NuInsSeg, and of others after it


def read_map(path: Path, shape: tuple[int, int], *, what: str = "a label map") -> Ids:
    """Whole numbers of the pixels of an image with this `shape`.

    Indexed PNG and TIFF files give the index and not its colour.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is damaged, a colour picture, has another shape, or holds anything but whole numbers from 0.
    """
    start = check_file(path, _EXPECTED)
    if start.startswith(npy.MAGIC):
        if npy.is_pickled(path):
            raise ContractError(
                f"{path}: expected {what} as an array of numbers, found Python objects. Fix: name the format: cellpose for files "
                "of Cellpose (_seg.npy), cellvit for a dictionary with inst_map and type_map; or save the array alone."
            )
        stored = npy.open_array(path)
    elif start.startswith(PNG):
        stored = _png(path)
    elif start.startswith(SIGNATURES):
        stored = _tiff(path)
    else:
        lossy = " JPEG changes the values of pixels." if start.startswith(b"\xff\xd8\xff") else ""
        raise ContractError(
            f"{path}: expected {_EXPECTED}. {described(path)}{lossy} Fix: export {what} as PNG or TIFF."
        )
    return checked_ids(path, stored, shape, what=what)


def has_colours(path: Path) -> bool:
    """True if a PNG or TIFF file has several channels, and so cannot be a map; only its header is read.

    Raises:
        ContractError: It is neither PNG nor TIFF.
    """
    start = check_file(path, _EXPECTED)
    with readable(path, _EXPECTED):
        if start.startswith(PNG):
            return png_colour_type(path) in _PNG_COLOURS
        with tifffile.TiffFile(path) as tif:
            return int(tif.pages.first.samplesperpixel) > 1


def companion(path: Path, pattern: str, *, option: str) -> Path:
    """File that belongs to an annotation: `pattern` beside it, with {name} for the name of the annotation.

    The name of a folder ends before "_png_masks" or "_masks".

    Raises:
        MissingInputError: The file does not exist.
        ContractError: The pattern names the same file for all annotations.
    """
    if "{name}" not in pattern:
        raise ContractError(
            f"{option}: expected a pattern with {{name}} for the name of the annotation, found {pattern!r}, which is the same file "
            "for all images. Fix: for example {name}_class.png."
        )
    name = path.stem
    if path.is_dir():
        ending = next((ending for ending in _FOLDER_ENDINGS if path.name.endswith(ending)), "")
        name = path.name.removesuffix(ending)
    found = path.parent / pattern.replace("{name}", name)
    if not found.is_file():
        raise MissingInputError(
            f"{found}: the file does not exist; {option} {pattern!r} names it for {path}. Fix: correct the pattern or add the file."
        )
    return found


def not_annotated_region(path: Path, shape: tuple[int, int], options: Options) -> Bool[np.ndarray, "h w"] | None:
    """True where a mask beside the annotation says that the image is not annotated; None without such masks."""
    if not options.not_annotated_file:
        return None
    mask = companion(path, options.not_annotated_file, option="not_annotated_file")
    return read_mask(mask, shape, what="a mask of regions that are not annotated")


def read_mask(path: Path, shape: tuple[int, int], *, what: str) -> Bool[np.ndarray, "h w"]:
    """True where a binary mask is not 0.

    Raises:
        ContractError: As for `read_map`, or there are several values.
    """
    numbers = read_map(path, shape, what=what)
    values = np.unique(numbers[numbers != 0])
    if len(values) > 1:
        raise ContractError(
            f"{path}: expected {what} with 0 and one other value, found {len(values) + 1} values up to {values[-1]}. "
            "Fix: save it with two values and without smoothing; a label map is another format."
        )
    inside: np.ndarray = numbers != 0
    return inside


def check_single(path: Path, place: Place, *, member: bool = False) -> None:
    """Refuse a place inside the file that pixels do not have.

    Raises:
        ContractError: There is an offset, or a member where the file holds one image.
    """
    if place.offset != (0.0, 0.0) or (place.member and not member):
        raise ContractError(
            f"{path}: expected the whole file to belong to one image, found member {place.member!r} and offset {place.offset}. "
            "Fix: leave both out; only arrays of many images have members, and only outlines have offsets."
        )


def _png(path: Path) -> np.ndarray:
    with readable(path, _EXPECTED):
        depth = png_depth(path)
        with open_picture(path, "PNG") as image:
            if image.mode not in ("1", "L", "P", "I", "I;16"):
                raise ContractError(
                    f"{path}: expected one number for each pixel, found a colour picture ({image.mode}). "
                    "Fix: export the ids themselves (8 or 16 bit, one channel), and not a picture of them."
                )
            stored: np.ndarray = np.asarray(image)
    if image.mode == "L" and depth < 8:  # Pillow stretches 2 and 4 bits to 0..255
        stored = stored // (255 // (2**depth - 1))
    return stored


def _tiff(path: Path) -> np.ndarray:
    image = read_tiff(path)
    if image.n_further:
        raise ContractError(
            f"{path}: expected a TIFF with one map, found {image.n_further + 1} images. Fix: save the map of this image alone."
        )
    if image.lossy:
        raise ContractError(
            f"{path}: expected a lossless compression, found one that changes the values of pixels (JPEG, JPEG 2000 or the like). "
            "Fix: export it with LZW, deflate or no compression."
        )
    if image.kind not in ("MINISBLACK", "PALETTE", "RGB") or (image.kind == "RGB" and image.pixels.ndim == 2):
        raise ContractError(
            f"{path}: expected one number for each pixel, found {image.kind}. Fix: save it as 8, 16 or 32 bit grey values, with 0 for "
            "background."
        )
    return image.pixels
