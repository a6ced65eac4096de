"""Position of epithelium, lumen and stroma in a tile, and the direction of its fibres.

Sizes are in px of 0.25 um: a columnar cell is 7 to 10 um high, a gland 30 to 80 um wide, a liver plate two cells. Ranges
without a name were chosen by eye from tiles of CoNSeP and MoNuSeg.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

import cv2
import numpy as np

from cellvit.data.simulate.texture import Ellipse, Plane, fractal_noise, smooth_noise, window

FAR_PX: Final = 60.0  # depth in a tile that is all epithelium; its negative: in a tile without epithelium
CANVAS_PX: Final = 288**2  # area of the canvas of a tile, to which counts for each tile refer
BEND_PX: Final = (31, 31)  # area over which fibres bend between two glands


class Architecture(Enum):
    """Arrangement of the parenchyma."""

    GLANDS = "glands with a clear lumen"
    FOLLICLES = "follicles filled with colloid"
    NESTS = "irregular nests in stroma"
    PLATES = "cords and plates between sinusoids"
    SURFACE = "layered epithelium under a free surface"
    SHEET = "a sheet of cells without stroma"
    STROMA = "stroma alone"
    AIRSPACES = "large clear spaces with thin walls: alveoli, fat"
    LYMPHOID = "a dense infiltrate"


STRAIGHT: Final = frozenset({Architecture.STROMA, Architecture.LYMPHOID, Architecture.SHEET, Architecture.SURFACE})
"""Architectures whose fibres do not bend around the epithelium."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Compartments of a canvas.

    Attributes:
        depth: Distance in px to the outer border of the epithelium: positive inside it, negative in the stroma.
        thickness: Thickness of the epithelium in px, from that border to the lumen; infinite without a lumen.
        along: Coordinate in px along the fibres of the stroma.
        across: Coordinate in px across them; the fibres are its level lines.
    """

    architecture: Architecture
    depth: Plane
    thickness: Plane
    along: Plane
    across: Plane

    @property
    def n_tiles(self) -> int:
        """Number of tiles that have the area of the canvas, at least 1."""
        return _tiles_in(self.depth.shape)

    def fibre_angle(self) -> Plane:
        """Direction of the fibres in radians (x to the right, y down)."""
        return _gradient_angle(self.across) + np.float32(np.pi / 2)

    def basal_angle(self) -> Plane:
        """Direction from the border of the epithelium to its lumen, in radians."""
        return _gradient_angle(self.depth)


def lay_out(architecture: Architecture, side_px: int, rng: np.random.Generator) -> Layout:
    """Random compartments of a square canvas."""
    shape = (side_px, side_px)
    angle = rng.uniform(0, np.pi)
    axes = window(shape, Ellipse(side_px / 2, side_px / 2, side_px, side_px, angle), reach_px=0)
    across = axes.across + rng.uniform(2, 10) * fractal_noise(rng, shape, rng.uniform(50, 110))
    depth, thickness = (field.astype(np.float32) for field in _depth(architecture, across, rng))
    if architecture not in STRAIGHT:  # blurred, because fibres would have kinks at the ridges between glands
        across = 0.8 * across - 0.7 * cv2.blur(cv2.blur(depth, BEND_PX), BEND_PX)
    return Layout(architecture, depth, thickness, axes.along, across)


def _depth(architecture: Architecture, across: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Depth below the border of the epithelium and its thickness, both in px."""
    shape, tiles = across.shape, _tiles_in(across.shape)
    solid = np.full(shape, np.inf, np.float32)
    match architecture:
        case Architecture.GLANDS:
            thickness = rng.uniform(26, 42) * (1 + 0.22 * smooth_noise(rng, shape, 35))
            return _rings(shape, rng, count=int(rng.integers(1, 5)) * tiles, radius_px=(55, 105)), thickness
        case Architecture.FOLLICLES:
            thickness = rng.uniform(17, 25) * (1 + 0.12 * smooth_noise(rng, shape, 45))
            return _rings(shape, rng, count=int(rng.integers(3, 7)) * tiles, radius_px=(45, 85)), thickness
        case Architecture.AIRSPACES:
            thickness = np.full(shape, rng.uniform(3, 8))
            return _rings(shape, rng, count=int(rng.integers(4, 9)) * tiles, radius_px=(55, 105)), thickness
        case Architecture.NESTS:
            return 30 * (smooth_noise(rng, shape, rng.uniform(55, 100)) + rng.uniform(0, 0.7)), solid
        case Architecture.PLATES:
            period = rng.uniform(58, 80)
            return 16 * (np.cos(2 * np.pi * across / period) + rng.uniform(0.5, 0.75)), solid
        case Architecture.SURFACE:
            depth = across + rng.uniform(-20, 50) + 8 * smooth_noise(rng, shape, 40)
            return depth, np.full(shape, rng.uniform(80, 170))
        case Architecture.SHEET:
            return FAR_PX + 25 * (smooth_noise(rng, shape, 70) - 1), solid
        case Architecture.STROMA | Architecture.LYMPHOID:
            return np.full(shape, -FAR_PX), solid


def _rings(shape: tuple[int, int], rng: np.random.Generator, *, count: int, radius_px: tuple[float, float]) -> Plane:
    """Depth below the nearest outline of `count` warped ellipses."""
    depth = np.full(shape, -FAR_PX, np.float32)
    warp = 1 + 0.13 * smooth_noise(rng, shape, 45)
    for y, x in rng.uniform(0, 1, (count, 2)) * shape:
        radius, stretch = rng.uniform(*radius_px), rng.uniform(1, 1.6)
        whole = Ellipse(y, x, radius * stretch, radius / stretch, rng.uniform(0, np.pi))
        axes = window(shape, whole, reach_px=2 * max(shape))
        distance = np.hypot(axes.along / np.float32(whole.major), axes.across / np.float32(whole.minor)) * warp
        depth = np.maximum(depth, np.float32(whole.minor) * (1 - distance))
    return depth


def _tiles_in(shape: tuple[int, ...]) -> int:
    return max(1, math.prod(shape) // CANVAS_PX)


def _gradient_angle(field: Plane) -> Plane:
    """Direction of the gradient of a field, in radians, over about 15 px."""
    smooth = cv2.blur(field, (15, 15))
    return np.asarray(np.arctan2(cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)))
