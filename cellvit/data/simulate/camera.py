"""Effects of a scanner: blur, uneven light, noise, compression."""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from cellvit.data.simulate.texture import smooth_noise, soft_step

SHARP_PX: Final = (0.5, 0.95)
"""Blur of a tile in focus (standard deviation): a 20x/0.75 lens at 0.25 um per pixel resolves about 0.4 um."""

DEFOCUS_PX: Final = (1.2, 2.4)
"""Blur of tissue outside the plane of focus."""

OUT_OF_FOCUS_RATE: Final = 0.3
"""Share of tiles that are partly out of focus."""

LIGHT: Final = (0.91, 0.97)
"""Transmission of bare glass, from which scanners set their white."""

SHADING: Final = 0.02
"""Standard deviation of the illumination within a tile."""

NOISE: Final = (0.006, 0.018)
"""Sensor noise, as a share of full scale."""

JPEG_QUALITY: Final = (72, 93)
"""Quality of the JPEG compression; whole slides are stored at 70 to 90."""


def photograph(light: Float32[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit RGB image of transmitted light (0..1)."""
    seen = _focus(light, rng)
    shade = 1 + SHADING * smooth_noise(rng, light.shape[:2], light.shape[0])
    seen = seen * shade[..., None] * np.float32(rng.uniform(*LIGHT))
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    seen = seen + np.float32(rng.uniform(*NOISE)) * cv2.GaussianBlur(grain, (0, 0), 0.6) * 1.7
    pixels = np.clip(np.rint(255 * seen), 0, 255).astype(np.uint8)
    return _compress(pixels, rng)


def _focus(light: Float32[np.ndarray, "h w 3"], rng: np.random.Generator) -> Float32[np.ndarray, "h w 3"]:
    """The light after the lens, more blurred where the tissue is outside the plane of focus."""
    sharp = cv2.GaussianBlur(light, (0, 0), rng.uniform(*SHARP_PX))
    if rng.random() > OUT_OF_FOCUS_RATE:
        return np.asarray(sharp)
    blurred = cv2.GaussianBlur(light, (0, 0), rng.uniform(*DEFOCUS_PX))
    away = soft_step(smooth_noise(rng, light.shape[:2], 100) - np.float32(rng.uniform(-0.5, 0.8)), 0.2)
    return np.asarray(sharp + away[..., None] * (blurred - sharp))


def _compress(pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The image after JPEG compression."""
    quality = int(rng.integers(*JPEG_QUALITY))
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
