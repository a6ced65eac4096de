"""Pixels of the first image of a TIFF file as they are stored, and what its tags say of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile

from cellvit.data.opening import readable
from cellvit.data.resolution import Spacing, tiff_spacings
from cellvit.errors import ContractError

SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

LARGEST_PX: Final = 80_000_000
"""Largest image that is read as a whole, about 8,900 x 8,900 px; below the size at which Pillow warns of a forged header."""

_JPEG: Final = 7
_LOSSLESS: Final = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000)
"""Compressions that cannot change values: none, CCITT, LZW, deflate, PackBits, LZMA, Zstandard."""

_APERIO_YCBCR: Final = 33003
_REDUCED: Final = 1  # bit of the tag NewSubfileType


@dataclass(frozen=True, slots=True)
class TiffImage:
    """The first image of a TIFF file.

    Attributes:
        pixels: (h, w) or (h, w, channels), in the dtype of the file.
        kind: What the channels mean: "MINISBLACK", "RGB", "PALETTE" ..., the names of TIFF 6.0.
        lossy: True if the compression can change values.
        n_further: Number of further images of the file, without reduced copies, thumbnails and labels.
        spacings: Micrometres per pixel by the place where the file states them.
    """

    pixels: np.ndarray
    kind: str
    lossy: bool
    n_further: int
    spacings: Mapping[str, Spacing]


def read_tiff(path: Path) -> TiffImage:
    """Read the first image of a TIFF file, of any layout and compression that tifffile reads.

    Raises:
        ContractError: The file is damaged or truncated, larger than `LARGEST_PX`, rotated by a tag, or in colours that
            cannot be read exactly.
    """
    with readable(path, "a TIFF image"), tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        _check_page(path, page)
        pixels = page.asarray(maxworkers=1)
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        kind = tifffile.PHOTOMETRIC(page.photometric).name
        # JPEG's own colours were turned into RGB while decoding.
        kind = "RGB" if kind == "YCBCR" else kind
        lossy = int(page.compression) not in _LOSSLESS
        return TiffImage(pixels, kind, lossy, _n_further(tif), tiff_spacings(path, tif, page))


def _check_page(path: Path, page: Any) -> None:
    if page.imagelength * page.imagewidth > LARGEST_PX:
        raise ContractError(too_large(path, f"{page.imagewidth:,} x {page.imagelength:,}"))
    check_exact(path, page)
    _check_segments(path, page)


def check_exact(path: Path, page: Any) -> None:
    """A page must be a flat image whose pixels every program shows in the same place and the same colour.

    Raises:
        ContractError: It is a stack, rotated by a tag, or in YCbCr colours that are not JPEG's own.
    """
    if page.imagedepth != 1 or page.samplesperpixel > 64:
        raise ContractError(f"{path}: expected a flat image, found shape {page.shape}. Fix: save one plane.")
    orientation = int(page.tags.valueof("Orientation", default=1))
    if orientation != 1:
        raise ContractError(rotated(path, orientation))
    ycbcr = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression != _JPEG
    if ycbcr or page.compression == _APERIO_YCBCR:
        raise ContractError(
            f"{path}: expected RGB, found YCbCr colours with compression {int(page.compression)}, which programs turn into "
            "different RGB values. Fix: save the image as RGB, for example from QuPath or ImageJ."
        )


def _check_segments(path: Path, page: Any) -> None:
    """Every strip or tile must be there and end inside the file; missing ones would be read as black."""
    offsets, sizes = page.dataoffsets, page.databytecounts
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
    expected = math.ceil(page.imagelength / rows) * math.ceil(page.imagewidth / columns) * planes
    end = max((offset + size for offset, size in zip(offsets, sizes, strict=False)), default=0)
    found = path.stat().st_size
    # tifffile joins strips that follow each other, so that fewer segments are as good.
    joined = len(offsets) == 1 and page.is_contiguous
    if not joined and (len(offsets) != expected or len(sizes) != expected):
        raise ContractError(f"{path}: expected {expected} strips or tiles, found {len(offsets)}. Fix: export it again.")
    if not all(offset and size for offset, size in zip(offsets, sizes, strict=True)) or end > found:
        raise ContractError(
            f"{path}: expected pixels up to byte {end:,}, found a file of {found:,} bytes or an empty strip or tile: the file is "
            "truncated or incomplete. Fix: copy or export it again."
        )


def _n_further(tif: tifffile.TiffFile) -> int:
    if tif.is_svs:  # thumbnail, label and macro image, and the levels of the pyramid
        return 0
    pages = [page for page in tif.pages if not int(page.aspage().subfiletype) & _REDUCED]
    planes = int((tif.imagej_metadata or {}).get("images", 1))
    return max(len(pages), planes, 1) - 1


def rotated(path: Path, orientation: int) -> str:
    """The message of the error that an image is to be rotated or mirrored when it is shown."""
    return (
        f"{path}: expected pixels in the order in which they are shown (orientation 1), found orientation {orientation}: some "
        "programs show this image rotated or mirrored, others do not, so that it is not known on which the annotations lie. "
        "Fix: save the image without orientation, as the program showed it in which the annotations were made."
    )


def too_large(path: Path, found: str) -> str:
    """The message of the error that an image has more than `LARGEST_PX` pixels."""
    return (
        f"{path}: expected an image of at most {LARGEST_PX:,} pixels, found {found}. "
        "Fix: export the annotated regions as images of their own; for a prediction, a tiled TIFF may have any size."
    )
