"""Letters, legends and scale bars of the pictures."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from cellvit.evaluation.scale_bar import length_text, round_below

INK: Final = (26, 26, 26)
"""Colour of text, as on the pages."""

SOFT: Final = (89, 89, 89)
PAPER: Final = (255, 255, 255)


class Entry(NamedTuple):
    """An entry of a legend; `color` is #rrggbb, or empty for a text without a swatch."""

    text: str
    color: str = ""


@cache
def font(px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: the same letters on every machine."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / "DejaVuSans.ttf", px)


def wrapped(text: str, width_px: int, px: int) -> list[str]:
    """Lines of a text that are not wider than this, broken at spaces, and inside of words that are wider."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font(px).getlength(longer) <= width_px:
            lines[-1] = longer
            continue
        pieces = _pieces(word, width_px, px)
        lines = [*lines, *pieces] if lines[-1] else pieces
    return lines


def draw_lines(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], texts: Sequence[str], *, px: int, width_px: int
) -> int:
    """Write texts below each other, wrapped; the y of what follows."""
    x, y = place
    for text in texts:
        for line in wrapped(text, width_px, px):
            draw.text((x, y), line, fill=INK, font=font(px))
            y += round(1.4 * px)
    return y


def draw_legend(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], entries: Sequence[Entry], *, px: int, width_px: int
) -> int:
    """Write entries beside each other as far as they fit; the y of what follows."""
    left, y = place
    x = left
    for text, color in entries:
        swatch = round(1.5 * px) if color else 0
        length = swatch + round(font(px).getlength(text)) + 2 * px
        if x > left and x + length > left + width_px:
            x, y = left, y + round(1.6 * px)
        if color:
            draw.rectangle((x, y + px // 8, x + px, y + px + px // 8), fill=color, outline=INK)
        draw.text((x + swatch, y), text, fill=INK, font=font(px))
        x += length
    return y + round(1.6 * px)


def draw_scale_bar(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], *, um_per_px: float, width_px: int, px: int
) -> int:
    """Draw a bar of a round length, about a fifth of the width, with its length beside it; the y of what follows."""
    x, y = place
    length_um = round_below(um_per_px * width_px / 5 * 1.5)
    length_px = max(1, round(length_um / um_per_px))
    draw.rectangle((x, y + px // 3, x + length_px, y + px // 3 + max(2, px // 4)), fill=INK)
    draw.text((x + length_px + px // 2, y), length_text(length_um), fill=INK, font=font(px))
    return y + round(1.6 * px)


def on_paper(picture: UInt8[np.ndarray, "h w 3"], *, width_px: int, below_px: int) -> Image.Image:
    """A white sheet with the picture at its top left, this wide or as wide as the picture, with space below."""
    height, width = picture.shape[:2]
    sheet = Image.new("RGB", (max(width, width_px), height + below_px), PAPER)
    sheet.paste(Image.fromarray(picture), (0, 0))
    return sheet


def _pieces(word: str, width_px: int, px: int) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and font(px).getlength(pieces[-1] + letter) > width_px:
            pieces.append("")
        pieces[-1] += letter
    return pieces
