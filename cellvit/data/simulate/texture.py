"""Random fields and soft shapes from which tissue is made."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

NOISE_GRID: Final = 64  # side of the noise grid from which fibres are interpolated; it repeats after 64 widths
SLOW_PX: Final = 14.0  # fields with wider bumps are first smoothed on a coarse grid: faster than one cubic pass
SLOW_STEP: Final = 4.0  # width in px of the cells of that grid

Plane = Float32[np.ndarray, "h w"]


class Ellipse(NamedTuple):
    """A soft ellipse: centre and half axes in px, angle of the first axis in radians (x to the right, y down)."""

    y: float
    x: float
    major: float
    minor: float
    angle: float


class Window(NamedTuple):
    """Part of a canvas around an ellipse, with the coordinates of each pixel in px along and across its first axis."""

    rows: slice
    columns: slice
    along: Plane
    across: Plane


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Plane:
    """Field with mean zero, variance of about one, and bumps of width `scale_px`."""
    field = rng.standard_normal([max(4, round(side / scale_px) + 3) for side in shape], dtype=np.float32)
    if scale_px >= SLOW_PX:
        field, scale_px = _stretch(field, scale_px / SLOW_STEP, cv2.INTER_CUBIC), SLOW_STEP
    fine = _stretch(field, scale_px, cv2.INTER_LINEAR)
    top, left = ((have - want) // 2 for have, want in zip(fine.shape, shape, strict=True))
    return fine[top : top + shape[0], left : left + shape[1]]


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Plane:
    """Sum of two smooth fields, the second with half the width and 0.6 of the strength."""
    return smooth_noise(rng, shape, scale_px) + 0.6 * smooth_noise(rng, shape, scale_px / 2)


def fibre_noise(rng: np.random.Generator, along: Plane, across: Plane, size_px: tuple[float, float]) -> Plane:
    """Noise in strands of (length, width) `size_px`, whose direction is that in which `across` is constant."""
    grid = rng.standard_normal((NOISE_GRID, NOISE_GRID), dtype=np.float32)
    offset = rng.uniform(0, NOISE_GRID, 2)
    x = along / np.float32(size_px[0]) + np.float32(offset[0])
    y = across / np.float32(size_px[1]) + np.float32(offset[1])
    return np.asarray(cv2.remap(grid, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP))


def soft_step(field: Float32[np.ndarray, "..."], width: float) -> Float32[np.ndarray, "..."]:
    """Logistic step of a field: 0 far below zero, 1 far above, 0.27..0.73 within +-`width`."""
    return (0.5 * (1 + np.tanh(field / np.float32(2 * width)))).astype(np.float32)


def soft_ellipses(shape: tuple[int, int], ellipses: Iterable[Ellipse], *, softness_px: float) -> Plane:
    """Coverage 0..1 by the union of ellipses with soft rims; parts outside the canvas are cut off."""
    coverage = np.zeros(shape, np.float32)
    for ellipse in ellipses:
        near = window(shape, ellipse, reach_px=4 * softness_px)
        radius = np.hypot(near.along / np.float32(ellipse.major), near.across / np.float32(ellipse.minor))
        inside_px = (1 - radius) * np.float32(ellipse.minor)
        spot = coverage[near.rows, near.columns]
        np.maximum(spot, soft_step(inside_px, softness_px), out=spot)
    return coverage


def window(shape: tuple[int, int], ellipse: Ellipse, *, reach_px: float) -> Window:
    """The part of a canvas within `reach_px` of an ellipse; it has no pixels if the ellipse is outside."""
    reach = max(ellipse.major, ellipse.minor) + reach_px
    rows, columns = (
        slice(*np.clip((int(centre - reach), int(centre + reach) + 1), 0, side).tolist())
        for centre, side in zip((ellipse.y, ellipse.x), shape, strict=True)
    )
    down = (np.arange(rows.start, rows.stop, dtype=np.float32) - np.float32(ellipse.y))[:, None]
    right = (np.arange(columns.start, columns.stop, dtype=np.float32) - np.float32(ellipse.x))[None]
    cosine, sine = np.float32(np.cos(ellipse.angle)), np.float32(np.sin(ellipse.angle))
    return Window(rows, columns, right * cosine + down * sine, down * cosine - right * sine)


def _stretch(field: Float32[np.ndarray, "_ _"], factor: float, method: int) -> Float32[np.ndarray, "_ _"]:
    """The field on a grid that is finer by `factor`."""
    height, width = field.shape
    return np.asarray(cv2.resize(field, (round(width * factor), round(height * factor)), interpolation=method))
