"""Opening PNG, JPEG and JPEG 2000 files with Pillow, within the size that is read as a whole."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image

from cellvit.data import tiff
from cellvit.errors import ContractError

PNG: Final = b"\x89PNG\r\n\x1a\n"

_DEPTH: Final = 24
"""Byte of a PNG file with the bits per channel; the next has the kind of its colours."""


@contextmanager
def open_picture(path: Path, kind: str) -> Iterator[Image.Image]:
    """The first picture of a file of this `kind` (Pillow's name of the format).

    Raises:
        ContractError: It is too large to be read as a whole.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(path, formats=[kind])
        except Image.DecompressionBombError as error:
            raise ContractError(tiff.too_large(path, str(error).partition(" exceeds")[0])) from error
    with image:
        if image.width * image.height > tiff.LARGEST_PX:
            raise ContractError(tiff.too_large(path, f"{image.width:,} x {image.height:,}"))
        yield image


def png_depth(path: Path) -> int:
    """Bits per channel of a PNG file."""
    with path.open("rb") as file:
        return file.read(_DEPTH + 1)[_DEPTH]


def png_colour_type(path: Path) -> int:
    """Kind of colours of a PNG file: 0 grey, 2 RGB, 3 indexed, 4 grey with alpha, 6 RGB with alpha."""
    with path.open("rb") as file:
        return file.read(_DEPTH + 2)[_DEPTH + 1]
