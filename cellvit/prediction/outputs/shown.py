"""Pictures as data URIs for the pages."""

import base64
import io
from pathlib import Path
from typing import Final

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from cellvit.report.slide import Shown

IMAGE_SIZE: Final = "cellvit-image-size"
"""Text of overlay.png that holds the width and height of the image above the legend."""

_LONGEST_PX: Final = 1600
"""Larger pictures are reduced: on a page, none is shown wider than 1,120 px."""

_QUALITY: Final = 85


def jpeg(picture: Image.Image, longest_px: int = _LONGEST_PX) -> Shown:
    """A photograph, or a photograph with marks: colours at full resolution, which thin outlines need."""
    reduced = picture.copy()
    reduced.thumbnail((longest_px, longest_px))
    return _shown(reduced, "JPEG", quality=_QUALITY, subsampling=0)


def png(picture: Image.Image) -> Shown:
    """A drawing with few colours."""
    return _shown(
        picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE), "PNG", optimize=True
    )


def without_legend(path: Path, longest_px: int) -> Shown | None:
    """The image of an overlay.png, reduced; None if there is none."""
    try:
        with Image.open(path) as sheet:
            size = sheet.text.get(IMAGE_SIZE, "") if isinstance(sheet, PngImageFile) else ""
            width, height = map(int, size.split()) if size else sheet.size
            return jpeg(sheet.convert("RGB").crop((0, 0, width, height)), longest_px)
    except Exception:  # Pillow raises nearly anything for a damaged file
        return None


def _shown(picture: Image.Image, kind: str, **options: object) -> Shown:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return Shown(f"data:image/{kind.lower()};base64,{encoded}", picture.width, picture.height)
