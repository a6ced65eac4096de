"""Pictures of tiles, maps and contours of nuclei as data URIs, so that a page needs no other file; imports no torch."""

import base64
import io
from typing import Final

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from cellvit.formats.dataset import DataSet

HV_COLOURS: Final = "RdBu_r"
"""Diverging colours of the HV maps: white at 0, blue to the left or up, red to the right or down."""

NP_COLOURS: Final = "cividis"
"""Colours of the NP map that are also distinct without red-green vision (Nuñez et al. 2018)."""

LEVELS: Final = 128
"""Steps of a colour map: finer than an eye can distinguish, and half the bytes of 256."""

_UNDEFINED_GREY: Final = (0x80, 0x80, 0x80)
"""Pixels without a value."""

HATCH_COLOUR: Final = "#808080"
"""Colour of the stripes over what is not annotated: no colour of H&E, and of none of the classes."""

_HATCH_PX: Final = (2, 8)
"""Width of the stripes and their distance, in pixels of the tile, to the right: a quarter of the tissue is covered."""

_JPEG_QUALITY: Final = 90

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


def tile_jpeg(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """Data URI of a tile as JPEG, with the quality and the full resolution of colours of a slide scanner."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0, optimize=True)
    return _uri("image/jpeg", buffer.getvalue())


def hatched(image: UInt8[np.ndarray, "h w 3"], annotated: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image with diagonal stripes where it is not annotated."""
    rows, columns = np.indices(annotated.shape)
    stripes = ((rows + columns) % _HATCH_PX[1] < _HATCH_PX[0]) & ~annotated
    return np.where(stripes[..., None], np.frombuffer(bytes.fromhex(HATCH_COLOUR[1:]), np.uint8), image)


def class_map_png(classes: UInt8[np.ndarray, "h w"], palette_of_classes: Palette) -> str:
    """Data URI of a map of classes; the background is grey."""
    return indexed_png(classes, palette_of_classes)


def class_palette(data_set: DataSet) -> Palette:
    """RGB of each class of a data set by its number, background first."""
    colors = (data_set.color_of[name] for name in data_set.class_names)
    return np.array([list(bytes.fromhex(color[1:])) for color in colors], np.uint8)


def _colours(colour_map: str) -> Palette:
    steps = mpl.colormaps[colour_map](np.linspace(0, 1, LEVELS))[:, :3]
    colours: Palette = np.rint(steps * 255).astype(np.uint8)
    return colours


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
