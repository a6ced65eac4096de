"""Colours of TIFF files that are refused, by their tags and before a library converts them without a word."""

from pathlib import Path
from typing import Any, Final

import tifffile

from cellvit.data.images import SAVE_RGB
from cellvit.errors import ContractError

_GREY: Final = ("MINISBLACK", "MINISWHITE")
_RGB: Final = ("RGB", "YCBCR")
_BITS: Final = 8


def check_colours(path: Path, page: Any) -> None:
    """A page must hold RGB colours, of 8 bits, with at most one further channel.

    Raises:
        ContractError: It is grey, CMYK, of 16 bits or whatever else; the error names it.
    """
    kind = tifffile.PHOTOMETRIC(page.photometric).name
    samples, bits = page.samplesperpixel, page.bitspersample
    if kind in _GREY and samples == 1:
        found = f"a grey image of {bits} bits, which may be a mask or one channel of an image"
    elif kind == "SEPARATED":
        found = "CMYK colours, which are those of a print and have no one RGB value"
    elif bits != _BITS:
        found = f"{bits} bits per channel ({kind})"
    elif kind not in _RGB and kind != "PALETTE":
        found = f"colours of the kind {kind}"
    elif kind in _RGB and samples not in (3, 4):
        found = f"{samples} channels"
    else:
        return
    raise ContractError(f"{path}: expected RGB with 8 bits per channel, found {found}. {SAVE_RGB}")
