"""Colours from concentrations of dyes, by optical density (Beer-Lambert).

References:
    Ruifrok and Johnston 2001, Quantification of histochemical staining by color deconvolution.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32

from cellvit.data.simulate.texture import smooth_noise

HEMATOXYLIN: Final = (0.58, 0.73, 0.32)
"""Optical density of hematoxylin in red, green, blue: Ruifrok and Johnston, slightly less pure, as in CoNSeP."""

EOSIN: Final = (0.27, 0.86, 0.30)
"""Optical density of eosin; their (.07, .99, .11) is the pure dye, the pink of stroma in CoNSeP is (.4, 1, .4)."""

BLOOD: Final = (0.10, 0.88, 0.62)
"""Optical density of erythrocytes: eosin on hemoglobin, towards orange."""

PIGMENT: Final = (0.55, 0.75, 0.95)
"""Optical density of lipofuscin, melanin and hemosiderin: brown."""

HUE_JITTER: Final = 0.035
"""Standard deviation of each component of the vector of a dye between tiles (scanners and batches)."""

GAIN_JITTER: Final = 0.20
"""Standard deviation of the log of the strength of a dye between tiles."""

UNEVENNESS: Final = 0.12
"""Standard deviation of the log of the strength of a dye within a tile."""

UNEVEN_PX: Final = 110.0
"""Width of the bumps of uneven staining; section thickness changes slowly."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Stain of an organ.

    Attributes:
        hematoxylin: Shift of the optical density of the dye in red, green, blue.
        eosin: Likewise.
        strengths: Strength of hematoxylin and eosin, about 1.
    """

    hematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    strengths: tuple[float, float]


def absorb(
    dyes: Float32[np.ndarray, "4 h w"], palette: Palette, rng: np.random.Generator
) -> Float32[np.ndarray, "h w 3"]:
    """Light that passes the tissue, RGB in 0..1, with random hue, strength and unevenness.

    `dyes` are the concentrations of hematoxylin, eosin, blood and pigment; 1 is a typical nucleus or dense collagen.
    """
    uneven = np.ones_like(dyes)
    for plane, strength in zip(uneven[:2], palette.strengths, strict=True):
        gain = np.log(strength) + rng.normal(0, GAIN_JITTER)
        plane[:] = np.exp(gain + UNEVENNESS * smooth_noise(rng, plane.shape, UNEVEN_PX))
    density = np.tensordot(dyes * uneven, _vectors(palette, rng), axes=(0, 0))
    return np.exp(-density).astype(np.float32)


def _vectors(palette: Palette, rng: np.random.Generator) -> Float32[np.ndarray, "4 3"]:
    """Optical density of each dye at concentration 1, with jitter of the hue, none negative."""
    vectors = np.array([HEMATOXYLIN, EOSIN, BLOOD, PIGMENT])
    vectors[:2] += (palette.hematoxylin, palette.eosin)
    return np.maximum(vectors + rng.normal(0, HUE_JITTER, vectors.shape), 0.02).astype(np.float32)
