"""Random fields that tissue is made of."""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

NOISE_GRID = 64
"""Side of the noise grid that fibres are sampled from; longer than any canvas is in fibre widths apart from wrap-around."""


class Ellipse(NamedTuple):
    """A soft ellipse: centre and half axes in px, angle of the first axis in radians (x to the right, y down)."""

    y: float
    x: float
    major: float
    minor: float
    angle: float


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Float32[np.ndarray, "h w"]:
    """Zero-mean field of about unit variance whose bumps are `scale_px` wide."""
    height, width = (max(4, round(side / scale_px) + 3) for side in shape)
    coarse = rng.standard_normal((height, width), dtype=np.float32)
    fine = cv2.resize(coarse, (round(width * scale_px), round(height * scale_px)), interpolation=cv2.INTER_CUBIC)
    top, left = ((have - want) // 2 for have, want in zip(fine.shape, shape, strict=True))
    return fine[top : top + shape[0], left : left + shape[1]]


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale_px: float, octaves: int = 3
) -> Float32[np.ndarray, "h w"]:
    """Sum of `octaves` smooth fields, each half as wide and 0.6 as strong as the one before."""
    field = np.zeros(shape, np.float32)
    for octave in range(octaves):
        field += 0.6**octave * smooth_noise(rng, shape, scale_px / 2**octave)
    return field


def fibre_noise(
    rng: np.random.Generator,
    along: Float32[np.ndarray, "h w"],
    across: Float32[np.ndarray, "h w"],
    size_px: tuple[float, float],
) -> Float32[np.ndarray, "h w"]:
    """Noise that is long in the direction in which `across` is constant: strands of (length, width) `size_px`."""
    grid = rng.standard_normal((NOISE_GRID, NOISE_GRID), dtype=np.float32)
    offset = rng.uniform(0, NOISE_GRID, 2)
    x, y = (
        np.mod(field / np.float32(size) + np.float32(start), NOISE_GRID - 1).astype(np.float32)
        for field, size, start in zip((along, across), size_px, offset, strict=True)
    )
    return cv2.remap(grid, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


def soft_step(field: Float32[np.ndarray, "..."], width: float) -> Float32[np.ndarray, "..."]:
    """Logistic step of a field: 0 where it is well below zero, 1 well above, 0.27..0.73 within +-`width`."""
    return (0.5 * (1 + np.tanh(field / np.float32(2 * width)))).astype(np.float32)


def soft_ellipses(
    shape: tuple[int, int], ellipses: Iterable[Ellipse], *, softness_px: float = 1.0
) -> Float32[np.ndarray, "h w"]:
    """Coverage 0..1 by the union of ellipses with soft rims; parts outside the canvas are cut."""
    coverage = np.zeros(shape, np.float32)
    for ellipse in ellipses:
        rows, columns, radius = ellipse_radius(shape, ellipse, reach_px=4 * softness_px)
        window = coverage[rows, columns]
        np.maximum(window, soft_step((1 - radius) * np.float32(ellipse.minor), softness_px), out=window)
    return coverage


def ellipse_radius(
    shape: tuple[int, int], ellipse: Ellipse, *, reach_px: float
) -> tuple[slice, slice, Float32[np.ndarray, "h w"]]:
    """Rows and columns of the window around an ellipse, and its elliptic radius there (1 on the rim)."""
    rows, columns, along, across = local_axes(shape, ellipse, reach_px=reach_px)
    return rows, columns, np.hypot(along / np.float32(ellipse.major), across / np.float32(ellipse.minor))


def local_axes(
    shape: tuple[int, int], ellipse: Ellipse, *, reach_px: float
) -> tuple[slice, slice, Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Window around an ellipse, and the px along and across its first axis at each pixel of that window."""
    reach = max(ellipse.major, ellipse.minor) + reach_px
    rows, columns = (
        slice(max(0, int(centre - reach)), min(side, int(centre + reach) + 1))
        for centre, side in zip((ellipse.y, ellipse.x), shape, strict=True)
    )
    down = (np.arange(rows.start, max(rows.start, rows.stop), dtype=np.float32) - np.float32(ellipse.y))[:, None]
    right = (np.arange(columns.start, max(columns.start, columns.stop), dtype=np.float32) - np.float32(ellipse.x))[None]
    cosine, sine = np.float32(np.cos(ellipse.angle)), np.float32(np.sin(ellipse.angle))
    return rows, columns, right * cosine + down * sine, down * cosine - right * sine
