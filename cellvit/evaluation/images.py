"""Images as data URIs, so that a page needs no other file; imports no torch."""

import base64
import io
from typing import Final

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

HV_COLOURS: Final = "RdBu_r"
"""Diverging colours of the HV maps: white at 0, blue to the left or up, red to the right or down."""

NP_COLOURS: Final = "cividis"
"""Colours of the NP map that are also distinct without red-green vision (Nuñez et al. 2018)."""

LEVELS: Final = 128
"""Steps of a colour map: finer than an eye can distinguish, and half the bytes of 256."""

_UNDEFINED_GREY: Final = (0x80, 0x80, 0x80)
"""Pixels without a value."""

Palette = UInt8[np.ndarray, "k 3"]


def indexed_png(pixels: UInt8[np.ndarray, "h w"], palette: Palette) -> str:
    """Data URI of a PNG whose pixels are indices of a palette of at most 256 colours."""
    height, width = pixels.shape
    image = Image.frombytes("P", (width, height), np.ascontiguousarray(pixels).tobytes())
    image.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def colour_mapped_png(values: Float[np.ndarray, "h w"], *, colour_map: str, low: float, high: float) -> str:
    """Data URI of a map in `LEVELS` steps of a matplotlib colour map; NaN is grey, values out of the range are clipped."""
    palette = np.concatenate([_colours(colour_map), np.array([_UNDEFINED_GREY], np.uint8)])
    share = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    pixels = np.rint(share * (LEVELS - 1)).astype(np.uint8)
    pixels[np.isnan(values)] = LEVELS
    return indexed_png(pixels, palette)


def colour_bar_png(colour_map: str) -> str:
    """Data URI of a horizontal bar from the lowest to the highest colour."""
    pixels = np.tile(np.arange(LEVELS, dtype=np.uint8), (8, 1))
    return indexed_png(pixels, _colours(colour_map))


def svg_uri(svg: str) -> str:
    """Data URI of an SVG image."""
    return _uri("image/svg+xml", svg.encode())


def _colours(colour_map: str) -> Palette:
    steps = mpl.colormaps[colour_map](np.linspace(0, 1, LEVELS))[:, :3]
    colours: Palette = np.rint(steps * 255).astype(np.uint8)
    return colours


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
