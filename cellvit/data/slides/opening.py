"""Opening images and slides: the content of the file decides which library reads it, and never its suffix alone.

The same file gives the same pixels on every machine: slides of scanners are read with OpenSlide or not at all, all other TIFF
files with tifffile whether OpenSlide is installed or not.
"""

from pathlib import Path
from typing import Any, Final

import tifffile

from cellvit.data import npy
from cellvit.data.opening import check_file, readable
from cellvit.data.pillow import PNG
from cellvit.data.slides.openslide_slide import OpenSlideSlide
from cellvit.data.slides.picture import Picture
from cellvit.data.slides.slide import Slide
from cellvit.data.slides.tiff_colours import check_colours
from cellvit.data.slides.tiff_slide import TiffSlide
from cellvit.data.tiff import LARGEST_PX, SIGNATURES
from cellvit.errors import ContractError

SLIDE_SUFFIXES: Final = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".dcm", ".svslide", ".vms", ".vmu", ".czi")
"""Suffixes of slides that OpenSlide reads, beside TIFF."""

_PICTURES: Final = (PNG, b"\xff\xd8\xff", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", npy.MAGIC)
_EXPECTED: Final = "an image (PNG, JPEG, JPEG 2000, TIFF, OME-TIFF) or a slide"


def open_slide(path: Path, *, mpp: float | None = None) -> Slide:
    """Open an image or a slide; the caller closes it.

    Args:
        mpp: Micrometres per pixel as the user gives them; they win over those of the file, and a difference is noted.

    Raises:
        MissingInputError: The file does not exist, or OpenSlide is needed and not installed.
        ContractError: The file is damaged, of another format, not RGB of 8 bits, or contradicts itself about its resolution.
        SettingsError: `mpp` is not a positive number.
    """
    start = check_file(path, _EXPECTED)
    if start.startswith(SIGNATURES):
        return _open_tiff(path, mpp)
    # The index of a MIRAX slide is a JPEG image, a thumbnail.
    if start.startswith(_PICTURES) and path.suffix.lower() != ".mrxs":
        return Picture(path, mpp)
    if path.suffix.lower() in SLIDE_SUFFIXES or _is_dicom(path):
        return OpenSlideSlide(path, mpp)
    return Picture(path, mpp)  # which refuses it


def _open_tiff(path: Path, mpp: float | None) -> Slide:
    with readable(path, "a TIFF image"), tifffile.TiffFile(path) as tif:
        first = tif.pages.first
        is_of_scanner = _is_of_scanner(first)
        main = max(_pages(tif), key=_n_px) if is_of_scanner else first
        check_colours(path, main)
        if is_of_scanner:
            _check_end(path, tif)
        is_picture = not is_of_scanner and _n_px(first) <= LARGEST_PX and (_needs_whole(first) or _has_one_level(tif))
    if is_of_scanner:
        return OpenSlideSlide(path, mpp)
    return Picture(path, mpp) if is_picture else TiffSlide(path, mpp)


def _is_of_scanner(page: Any) -> bool:
    """True for TIFF files with a structure of their own, which OpenSlide knows.

    Regions that ImageScope exported have Aperio's description, but no tiles, and are plain TIFF files.
    """
    is_trestle = str(page.software).startswith("MedScan")
    is_tiled = page.is_svs or page.is_philips or is_trestle
    return bool(page.is_scn or page.is_bif or page.is_ndpi or (page.is_tiled and is_tiled))


def _needs_whole(page: Any) -> bool:
    """True if only the whole image can be read or judged: planes of colours, palettes, and an alpha channel."""
    is_planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    is_palette = page.photometric == tifffile.PHOTOMETRIC.PALETTE
    return bool(is_planar or is_palette or page.samplesperpixel == 4)


def _has_one_level(tif: tifffile.TiffFile) -> bool:
    """True for an image of strips without reduced copies."""
    return not tif.pages.first.is_tiled and len(tif.series[0].levels) == 1


def _pages(tif: tifffile.TiffFile) -> list[Any]:
    return [page.aspage() for page in tif.pages]


def _n_px(page: Any) -> int:
    return int(page.imagewidth) * int(page.imagelength)


def _check_end(path: Path, tif: tifffile.TiffFile) -> None:
    """Tiles of Aperio beyond the end of the file would be errors only when they are read, hours later."""
    if not tif.pages.first.is_svs:
        return
    found = path.stat().st_size
    for page in _pages(tif):
        end = max(
            (offset + size for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0
        )
        if end > found:
            raise ContractError(
                f"{path}: expected pixels up to byte {end:,}, found a file of {found:,} bytes: the file is truncated. "
                "Fix: copy or export it again."
            )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return bytes(file.read(132)[128:]) == b"DICM"
