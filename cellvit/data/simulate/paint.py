"""Painting nuclei into hematoxylin and eosin, and their outlines into the ground truth."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from cellvit.data.simulate.nuclei import KINDS, WAVES, Nucleus
from cellvit.data.simulate.texture import Plane, fractal_noise, soft_step, window
from cellvit.taxonomy import NUCLEUS_CLASSES, NucleusClass

MEMBRANE_PX: Final = 1.3  # width of the nuclear membrane with the chromatin along it (standard deviation)
PALE: Final = 0.32  # hematoxylin inside a vesicular nucleus, as a share of that of its membrane
OPEN: Final = 0.85  # likewise inside any other nucleus
COVER: Final = 0.75  # share of the tissue below that a nucleus replaces; sections are thicker, so overlaps add up
EOSIN_LEFT: Final = 0.65  # share of the eosin that remains inside a nucleus
NUCLEOLUS: Final = 0.55  # hematoxylin that a nucleolus adds
NUCLEOLUS_PX: Final = 1.5  # standard deviation of a nucleolus: about 1 um wide
RIM_PX: Final = 9.0  # distance up to which a nucleus changes the cytoplasm around it
SHARED_RIM_PX: Final = 1.0  # rim that nuclei of different classes may share, as PanNuke's channels overlap at borders


def paint_nuclei(
    dyes: Float32[np.ndarray, "4 h w"], nuclei: Sequence[Nucleus], rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "4 h w"], Int32[np.ndarray, "5 h w"]]:
    """The dyes (hematoxylin, eosin, blood, pigment) with nuclei, later ones over earlier ones, and their labels.

    Labels have one plane for each class, in the order of `NUCLEUS_CLASSES`: index of the nucleus plus one, else 0.
    """
    dyes = dyes.copy()
    shape = dyes.shape[1:]
    labels = np.zeros((len(NUCLEUS_CLASSES), *shape), np.int32)
    clumps = sorted({kind.clump_px for kind in KINDS.values()})
    textures = {clump_px: fractal_noise(rng, shape, clump_px) for clump_px in clumps}
    for number, nucleus in enumerate(nuclei, 1):
        near = _near(nucleus, shape)
        body = soft_step(near.inside_px, nucleus.softness_px / 2)
        texture = textures[KINDS[nucleus.kind].clump_px][near.rows, near.columns]
        blue, pink = dyes[:2, near.rows, near.columns]
        blue *= 1 - np.float32(COVER) * body
        blue += body * _chromatin(nucleus, near, texture)
        # Around the nucleus, the cytoplasm has retracted (less eosin), or is that of a dead cell (more eosin).
        width = np.float32(3.5 if nucleus.kind is NucleusClass.DEAD else 1.6)
        rim = 1 - np.float32(nucleus.shrinkage) * np.exp(-(((near.inside_px + np.float32(2.2)) / width) ** 2) / 2)
        pink *= (1 - np.float32(1 - EOSIN_LEFT) * body) * rim
        spot = labels[:, near.rows, near.columns]
        spot[:, near.inside_px > SHARED_RIM_PX] = 0
        spot[NUCLEUS_CLASSES.index(nucleus.kind), near.inside_px > 0] = number
    dyes[2] *= ~labels.any(0)
    return dyes, labels


class _Near(NamedTuple):
    """Window around a nucleus: distance inside its outline in px, and coordinates along its axes (-1..1)."""

    rows: slice
    columns: slice
    inside_px: Plane
    u: Plane
    v: Plane


def _near(nucleus: Nucleus, shape: tuple[int, int]) -> _Near:
    """A bent ellipse whose radius varies with the angle."""
    major, minor = nucleus.body.major, nucleus.body.minor
    near = window(shape, nucleus.body._replace(major=major * 1.2, minor=minor * 1.2), reach_px=RIM_PX)
    u = near.along / np.float32(major)
    v = (near.across - np.float32(nucleus.bend) * near.along**2) / np.float32(minor)
    radius = np.hypot(u, v) + np.float32(1e-6)
    turn = (u + 1j * v).astype(np.complex64) / radius
    coefficients = np.array([*nucleus.waves[::-1], *[0] * WAVES[0]], np.complex64)
    outline = 1 + np.polyval(coefficients, turn).real
    scale = np.float32((major * minor) ** 0.5 * 0.5 + minor * 0.5)
    return _Near(near.rows, near.columns, (1 - radius / outline) * scale, u, v)


def _chromatin(nucleus: Nucleus, near: _Near, texture: Plane) -> Plane:
    """Hematoxylin of a nucleus: interior, membrane, clumps and nucleoli."""
    interior = np.float32(PALE if nucleus.vesicular else OPEN)
    membrane = np.exp(-(((near.inside_px - np.float32(1.0)) / np.float32(MEMBRANE_PX)) ** 2) / 2)
    density = interior + (1 - interior) * membrane
    density = density * (1 + np.float32(KINDS[nucleus.kind].coarseness) * texture)
    for u, v in nucleus.nucleoli:
        far = ((near.u - np.float32(u)) * np.float32(nucleus.body.major)) ** 2
        far = far + ((near.v - np.float32(v)) * np.float32(nucleus.body.minor)) ** 2
        density = density + np.float32(NUCLEOLUS) * np.exp(-far / np.float32(2 * NUCLEOLUS_PX**2))
    return np.asarray(np.maximum(density, 0) * np.float32(nucleus.level))
