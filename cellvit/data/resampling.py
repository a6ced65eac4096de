"""Images at another resolution, by the same arithmetic for tiles that train and for images that are predicted."""

import math
from typing import Final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

TOLERANCE: Final = 0.01
"""Images whose resolution differs from the model's by at most this share are not resampled (decision): scanners of one
nominal magnification differ by as much, and 1 % of a nucleus of 40 px is less than half a pixel."""

_SURPLUS: Final = 2
"""Further px around the pixels that bilinear interpolation uses."""

Pixels = UInt8[np.ndarray, "h w 3"]


def needs_resampling(mpp: float, model_mpp: float) -> bool:
    """True if an image of resolution `mpp` is resampled for a model of resolution `model_mpp`."""
    return round(abs(mpp / model_mpp - 1), 6) > TOLERANCE  # 0.2475 is 1 % from 0.25, in floating point a little more


def margin_px(scale: float) -> int:
    """Px around a box that its resampling reads, where one px of the copy covers `scale` px."""
    return math.ceil(max(1.0, scale)) + _SURPLUS


def resampled_box(source: Pixels, box: tuple[float, float, float, float], size: tuple[int, int]) -> Pixels:
    """Pixels of a box of an image, as a copy of the given width and height.

    Bilinear; where the copy is coarser, over as many px as one of its px covers (Pillow's antialiasing).

    Args:
        box: Left, top, right and bottom in px, inside the image with `margin_px` around it.
    """
    return np.array(Image.fromarray(source).resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=None))


def resampled_image(image: Pixels, scale: float) -> Pixels:
    """A copy of a whole image with one px for each `scale` px; the border is reflected.

    Examples:
        >>> resampled_image(np.full((10, 20, 3), 7, np.uint8), 2.0).shape
        (5, 10, 3)
    """
    height, width = (max(1, round(side / scale)) for side in image.shape[:2])
    around = margin_px(scale)
    padded = np.pad(image, ((around, around), (around, around), (0, 0)), mode="reflect")
    return resampled_box(padded, (around, around, around + width * scale, around + height * scale), (width, height))
