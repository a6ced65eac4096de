"""Paint nuclei into hematoxylin and eosin, and their outlines into the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int32

from cellvit.data.simulate.nuclei import KINDS, WAVES, Nucleus
from cellvit.data.simulate.texture import Ellipse, fractal_noise, local_axes, soft_step
from cellvit.taxonomy import NUCLEUS_CLASSES, NucleusClass

MEMBRANE_PX: Final = 1.3
"""Width of the nuclear membrane with the chromatin along it (standard deviation)."""

PALE: Final = 0.32
"""Hematoxylin inside a vesicular nucleus as a share of its membrane's."""

COVER: Final = 0.75
"""Share of what lies below that a nucleus replaces; sections are thicker than a nucleus is, so overlaps add up."""

EOSIN_LEFT: Final = 0.45
"""Share of eosin that remains where a nucleus lies."""

SHARED_RIM_PX: Final = 1.0
"""Rim in which nuclei of two classes may both be marked, as PanNuke's channels overlap at borders."""

OUTLINE: Final = 1.0
"""Elliptic radius at which an annotator draws the border."""


@dataclass(frozen=True, slots=True)
class Painted:
    """Canvas with nuclei.

    Attributes:
        labels: One plane a class in the order of `NUCLEUS_CLASSES`: index of the nucleus plus one, 0 elsewhere.
    """

    hematoxylin: Float32[np.ndarray, "h w"]
    eosin: Float32[np.ndarray, "h w"]
    labels: Int32[np.ndarray, "5 h w"]


def paint_nuclei(
    hematoxylin: Float32[np.ndarray, "h w"],
    eosin: Float32[np.ndarray, "h w"],
    nuclei: Sequence[Nucleus],
    rng: np.random.Generator,
) -> Painted:
    """Paint nuclei in order, later ones over earlier ones; the planes given stay as they are."""
    shape = hematoxylin.shape
    blue, pink = hematoxylin.copy(), eosin.copy()
    labels = np.zeros((len(NUCLEUS_CLASSES), *shape), np.int32)
    chromatin = {kind: fractal_noise(rng, shape, KINDS[kind].clump_px, octaves=2) for kind in {n.kind for n in nuclei}}
    for number, nucleus in enumerate(nuclei, 1):
        rows, columns, inside_px, u, v = _outline(nucleus, shape)
        body = soft_step(inside_px, nucleus.softness_px / 2)
        density = _chromatin(nucleus, inside_px, (u, v), chromatin[nucleus.kind][rows, columns])
        window = blue[rows, columns]
        window *= 1 - np.float32(COVER) * body
        window += body * density
        pink[rows, columns] *= (1 - np.float32(1 - EOSIN_LEFT) * body) * _rim(nucleus, inside_px)
        _mark(labels[:, rows, columns], nucleus.kind, number, inside_px)
    return Painted(blue, pink, labels)


def _outline(
    nucleus: Nucleus, shape: tuple[int, int]
) -> tuple[slice, slice, Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Window around a nucleus, px inside its outline, and its own axes (-1..1) at each pixel."""
    ellipse = Ellipse(nucleus.y, nucleus.x, nucleus.major * 1.2, nucleus.minor * 1.2, nucleus.angle)
    rows, columns, along, across = local_axes(shape, ellipse, reach_px=9)
    u = along / np.float32(nucleus.major)
    v = (across - np.float32(nucleus.bend) * along**2) / np.float32(nucleus.minor)
    radius = np.hypot(u, v) + np.float32(1e-6)
    turn = (u + 1j * v).astype(np.complex64) / radius
    outline = 1 + sum((turn**k * np.complex64(wave)).real for k, wave in zip(WAVES, nucleus.waves, strict=True))
    scale = np.float32((nucleus.major * nucleus.minor) ** 0.5 * 0.5 + nucleus.minor * 0.5)
    return rows, columns, (np.float32(OUTLINE) - radius / outline) * scale, u, v


def _chromatin(
    nucleus: Nucleus,
    inside_px: Float32[np.ndarray, "h w"],
    axes: tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]],
    texture: Float32[np.ndarray, "h w"],
) -> Float32[np.ndarray, "h w"]:
    """Hematoxylin of a nucleus: interior, membrane, clumps and nucleoli."""
    interior = np.float32(PALE if nucleus.vesicular else 0.85)
    membrane = np.exp(-(((inside_px - np.float32(1.0)) / np.float32(MEMBRANE_PX)) ** 2) / 2)
    density = interior + (1 - interior) * membrane
    density = density * (1 + np.float32(KINDS[nucleus.kind].coarseness) * texture)
    for u0, v0 in nucleus.nucleoli:
        far = ((axes[0] - np.float32(u0)) * np.float32(nucleus.major)) ** 2
        far = far + ((axes[1] - np.float32(v0)) * np.float32(nucleus.minor)) ** 2
        density = density + np.float32(0.55) * np.exp(-far / np.float32(2 * 1.5**2))
    return np.maximum(density, 0) * np.float32(nucleus.level)


def _rim(nucleus: Nucleus, inside_px: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Factor on eosin around a nucleus: under 1 where the cytoplasm has retracted, over 1 around a dead cell."""
    width = np.float32(3.5 if nucleus.kind is NucleusClass.DEAD else 1.6)
    ring = np.exp(-(((inside_px + np.float32(2.2)) / width) ** 2) / 2)
    return 1 - np.float32(nucleus.shrinkage) * ring


def _mark(
    labels: Int32[np.ndarray, "5 h w"], kind: NucleusClass, number: int, inside_px: Float32[np.ndarray, "h w"]
) -> None:
    """Write the nucleus into its class's plane and take all but a thin rim of it from the other classes."""
    own = NUCLEUS_CLASSES.index(kind)
    core: Bool[np.ndarray, "h w"] = inside_px > SHARED_RIM_PX
    for channel, plane in enumerate(labels):
        plane[inside_px > 0 if channel == own else core] = number if channel == own else 0
