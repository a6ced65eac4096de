"""Pictures of annotated images: contours in the colours of the classes, and what is not annotated dimmed."""

import base64
import io
from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from cellvit.data.own_images import OwnImage
from cellvit.evaluation.contours import DARK, halos_of, rgb_of
from cellvit.formats.dataset import NOT_ANNOTATED

_SMALLEST_SIDE: Final = 1024
"""Smaller images are enlarged under contours, so that these hide little of a nucleus: the page shows them half as wide."""

_LARGEST_SIDE: Final = 1400
"""Larger images are reduced: a page of 24 images stays below 20 MB."""

_CONTOUR_PX: Final = 3
"""Width of a contour in a picture of 1024 px, without the dark lines beside it."""

_DIM: Final = 0.65
"""How far pixels that are not annotated fade to grey."""

_DIM_GREY: Final = 128
_JPEG_QUALITY: Final = 85


class Pictures(NamedTuple):
    """Data URIs of an image without and with contours, and their size."""

    plain: str
    contours: str
    width: int
    height: int


def pictures_of(image: OwnImage, colors: Sequence[str]) -> Pictures:
    """Pictures of an image.

    Args:
        colors: Colour of each class as #rrggbb, in the order of the classes.
    """
    side = max(image.instances.shape)
    scale = min(_LARGEST_SIDE / side, max(1.0, float(-(-_SMALLEST_SIDE // side))))
    pixels = _resized(image.pixels, scale, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    # Labels below 2**24 are exact in float32, which OpenCV resizes and dilates.
    labels = _resized(image.instances.astype(np.float32), scale, cv2.INTER_NEAREST)
    classes = _resized(image.classes, scale, cv2.INTER_NEAREST)
    height, width = labels.shape
    plain = image.pixels if scale > 1 else pixels
    return Pictures(_jpeg(plain), _jpeg(_with_contours(pixels, labels, classes, colors)), width, height)


def _resized(array: np.ndarray, scale: float, method: int) -> np.ndarray:
    return array if scale == 1 else cv2.resize(array, None, fx=scale, fy=scale, interpolation=method)


def _with_contours(
    pixels: UInt8[np.ndarray, "h w 3"],
    labels: Float32[np.ndarray, "h w"],
    classes: UInt8[np.ndarray, "h w"],
    colors: Sequence[str],
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with contours inside each nucleus, so that touching nuclei have one each, with halos on both sides."""
    drawn = pixels.copy()
    faded = classes == NOT_ANNOTATED
    drawn[faded] = (pixels[faded] * (1 - _DIM) + _DIM_GREY * _DIM).astype(np.uint8)
    width_px = max(2, round(_CONTOUR_PX * max(labels.shape) / _SMALLEST_SIDE))
    kernel = np.ones((2 * width_px + 1,) * 2, np.uint8)
    contour = (labels > 0) & ((cv2.dilate(labels, kernel) != labels) | (cv2.erode(labels, kernel) != labels))
    # Class 0 stands for all nuclei without a known class: they have a halo alone.
    palette = np.array([rgb_of(color) for color in (DARK, *colors)], np.uint8)
    known = np.where(classes <= len(colors), classes, 0)
    lines = np.where(contour, known + np.uint8(1), 0).astype(np.uint8)
    around = cv2.dilate(lines, np.ones((3, 3), np.uint8))
    halos = np.concatenate([palette[:1], halos_of(palette[1:])])
    drawn[around > 0] = halos[around[around > 0] - 1]
    drawn[lines > 0] = palette[lines[lines > 0] - 1]
    return drawn


def _jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """Data URI of a JPEG with full resolution of colours, which thin contours need."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
