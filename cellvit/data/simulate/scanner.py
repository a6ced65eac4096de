"""From concentrations of dyes to an image: absorption of light (Beer-Lambert), blur, noise, compression.

References:
    Ruifrok and Johnston 2001, Quantification of histochemical staining by color deconvolution.
"""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from cellvit.data.simulate.organs import Organ
from cellvit.data.simulate.texture import smooth_noise, soft_step

DYES: Final = np.array(
    [
        (0.58, 0.73, 0.32),  # hematoxylin: Ruifrok and Johnston, slightly less pure, as in CoNSeP
        (0.27, 0.86, 0.30),  # eosin; their (.07, .99, .11) is the pure dye, the pink of stroma in CoNSeP is (.4, 1, .4)
        (0.10, 0.88, 0.62),  # erythrocytes: eosin on hemoglobin, towards orange
        (0.55, 0.75, 0.95),  # lipofuscin, melanin and hemosiderin: brown
    ]
)
"""Optical density of each dye in red, green, blue."""

HUE_JITTER: Final = 0.035  # standard deviation of each component of DYES between tiles (scanners and batches)
GAIN_JITTER: Final = 0.20  # standard deviation of the log of the strength of a dye between tiles
UNEVENNESS: Final = 0.12  # the same within a tile
UNEVEN_PX: Final = 110.0  # width of the bumps of uneven staining; section thickness changes slowly

SHARP_PX: Final = (0.5, 0.95)  # blur (standard deviation) in focus: a 20x/0.75 lens resolves about 0.4 um
DEFOCUS_PX: Final = (1.2, 2.4)  # blur of tissue outside the plane of focus
OUT_OF_FOCUS_RATE: Final = 0.3  # share of tiles that are partly out of focus
LIGHT: Final = (0.91, 0.97)  # transmission of bare glass, from which scanners set their white
SHADING: Final = 0.02  # standard deviation of the illumination within a tile
NOISE: Final = (0.006, 0.018)  # sensor noise, as a share of full scale
JPEG_QUALITY: Final = (72, 93)  # whole slides are stored at 70 to 90


def absorb(dyes: Float32[np.ndarray, "4 h w"], organ: Organ, rng: np.random.Generator) -> Float32[np.ndarray, "h w 3"]:
    """Light that passes the tissue, RGB in 0..1, with random hue, strength and unevenness.

    `dyes` are the concentrations of hematoxylin, eosin, blood and pigment; 1 is a typical nucleus or dense collagen.
    """
    uneven = np.ones_like(dyes)
    for plane, strength in zip(uneven[:2], organ.strengths, strict=True):
        gain = np.log(strength) + rng.normal(0, GAIN_JITTER)
        plane[:] = np.exp(gain + UNEVENNESS * smooth_noise(rng, plane.shape, UNEVEN_PX))
    vectors = DYES.copy()
    vectors[:2] += (organ.hematoxylin, organ.eosin)
    vectors = np.maximum(vectors + rng.normal(0, HUE_JITTER, vectors.shape), 0.02).astype(np.float32)
    return np.exp(-np.tensordot(dyes * uneven, vectors, axes=(0, 0))).astype(np.float32)


def photograph(light: Float32[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit RGB image of transmitted light (0..1), after JPEG compression."""
    image = _focus(light, rng)
    shade = 1 + SHADING * smooth_noise(rng, light.shape[:2], light.shape[0])
    image = image * shade[..., None] * np.float32(rng.uniform(*LIGHT))
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    image = image + np.float32(rng.uniform(*NOISE)) * cv2.GaussianBlur(grain, (0, 0), 0.6) * 1.7
    pixels = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    quality = int(rng.integers(*JPEG_QUALITY))
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def _focus(light: Float32[np.ndarray, "h w 3"], rng: np.random.Generator) -> Float32[np.ndarray, "h w 3"]:
    """The light after the lens, more blurred where the tissue is outside the plane of focus."""
    sharp = cv2.GaussianBlur(light, (0, 0), rng.uniform(*SHARP_PX))
    if rng.random() > OUT_OF_FOCUS_RATE:
        return np.asarray(sharp)
    blurred = cv2.GaussianBlur(light, (0, 0), rng.uniform(*DEFOCUS_PX))
    away = soft_step(smooth_noise(rng, light.shape[:2], 100) - np.float32(rng.uniform(-0.5, 0.8)), 0.2)
    return np.asarray(sharp + away[..., None] * (blurred - sharp))
