"""Colours of the stains of H&E, and how much of each is in a pixel; imports no torch."""

from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8

COLOURS_OF_STAINS: Final = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density of hematoxylin, eosin and DAB in red, green and blue (Ruifrok and Johnston 2001, as in skimage)."""

WHITE: Final = 255.0
"""Value of a pixel without stain."""


def hematoxylin_and_eosin(pixels: UInt8[np.ndarray, "p 3"]) -> Float32[np.ndarray, "2 p"]:
    """Optical density (base 10) of hematoxylin and of eosin in each pixel, by colour deconvolution; rarely below 0.

    Examples:
        >>> abs(hematoxylin_and_eosin(np.array([[255, 255, 255]], np.uint8))).tolist()
        [[0.0], [0.0]]
    """
    values = np.maximum(np.arange(256), 1) / WHITE
    stains_of_colours = np.linalg.inv(COLOURS_OF_STAINS)[:, :2]
    # A table for each colour and stain: 256 products in place of one for each pixel.
    tables = (-np.log10(values)[:, None, None] * stains_of_colours).astype(np.float32)  # (256, colour, stain)
    density: Float32[np.ndarray, "2 p"] = np.stack(
        [sum(tables[:, colour, stain][pixels[:, colour]] for colour in range(3)) for stain in range(2)]
    )
    return density
