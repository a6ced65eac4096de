"""Painting nuclei into hematoxylin and eosin, and their outlines into the ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from cellvit.data.simulate.nuclei import KINDS, WAVES, Nucleus
from cellvit.data.simulate.texture import Ellipse, fractal_noise, soft_step, window
from cellvit.taxonomy import NUCLEUS_CLASSES, NucleusClass

MEMBRANE_PX: Final = 1.3
"""Width of the nuclear membrane with the chromatin along it (standard deviation)."""

PALE: Final = 0.32
"""Hematoxylin inside a vesicular nucleus, as a share of that of its membrane."""

OPEN: Final = 0.85
"""Likewise inside any other nucleus."""

COVER: Final = 0.75
"""Share of the tissue below that a nucleus replaces; sections are thicker than a nucleus, so overlaps add up."""

EOSIN_LEFT: Final = 0.65
"""Share of the eosin that remains inside a nucleus."""

SHARED_RIM_PX: Final = 1.0
"""Width of the rim that two nuclei of different classes may share, as PanNuke's channels overlap at borders."""

NUCLEOLUS: Final = 0.55
"""Hematoxylin that a nucleolus adds."""

NUCLEOLUS_PX: Final = 1.5
"""Standard deviation of a nucleolus: about 1 um wide."""

RIM_PX: Final = 9.0
"""Distance up to which a nucleus changes the cytoplasm around it."""


@dataclass(frozen=True, slots=True)
class Painted:
    """Canvas with nuclei.

    Attributes:
        labels: One plane for each class, in the order of `NUCLEUS_CLASSES`: index of the nucleus plus one, else 0.
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
    """Paint nuclei in order, later ones over earlier ones; the given planes are not changed."""
    shape = hematoxylin.shape
    blue, pink = hematoxylin.copy(), eosin.copy()
    labels = np.zeros((len(NUCLEUS_CLASSES), *shape), np.int32)
    clumps = sorted({kind.clump_px for kind in KINDS.values()})
    textures = {clump_px: fractal_noise(rng, shape, clump_px) for clump_px in clumps}
    for number, nucleus in enumerate(nuclei, 1):
        view = _view(nucleus, shape)
        body = soft_step(view.inside_px, nucleus.softness_px / 2)
        texture = textures[KINDS[nucleus.kind].clump_px][view.rows, view.columns]
        below = blue[view.rows, view.columns]
        below *= 1 - np.float32(COVER) * body
        below += body * _chromatin(nucleus, view, texture)
        pink[view.rows, view.columns] *= (1 - np.float32(1 - EOSIN_LEFT) * body) * _rim(nucleus, view.inside_px)
        _mark(labels[:, view.rows, view.columns], nucleus.kind, number, view.inside_px)
    return Painted(blue, pink, labels)


class _View(NamedTuple):
    """Window around a nucleus: distance inside its outline in px, and coordinates along its axes (-1..1)."""

    rows: slice
    columns: slice
    inside_px: Float32[np.ndarray, "h w"]
    u: Float32[np.ndarray, "h w"]
    v: Float32[np.ndarray, "h w"]


def _view(nucleus: Nucleus, shape: tuple[int, int]) -> _View:
    """A bent ellipse whose radius varies with the angle."""
    reach = Ellipse(nucleus.y, nucleus.x, nucleus.major * 1.2, nucleus.minor * 1.2, nucleus.angle)
    near = window(shape, reach, reach_px=RIM_PX)
    u = near.along / np.float32(nucleus.major)
    v = (near.across - np.float32(nucleus.bend) * near.along**2) / np.float32(nucleus.minor)
    radius = np.hypot(u, v) + np.float32(1e-6)
    turn = (u + 1j * v).astype(np.complex64) / radius
    coefficients = np.array([*nucleus.waves[::-1], *[0] * WAVES[0]], np.complex64)
    outline = 1 + np.polyval(coefficients, turn).real
    scale = np.float32((nucleus.major * nucleus.minor) ** 0.5 * 0.5 + nucleus.minor * 0.5)
    return _View(near.rows, near.columns, (1 - radius / outline) * scale, u, v)


def _chromatin(nucleus: Nucleus, view: _View, texture: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Hematoxylin of a nucleus: interior, membrane, clumps and nucleoli."""
    interior = np.float32(PALE if nucleus.vesicular else OPEN)
    membrane = np.exp(-(((view.inside_px - np.float32(1.0)) / np.float32(MEMBRANE_PX)) ** 2) / 2)
    density = interior + (1 - interior) * membrane
    density = density * (1 + np.float32(KINDS[nucleus.kind].coarseness) * texture)
    for u, v in nucleus.nucleoli:
        far = ((view.u - np.float32(u)) * np.float32(nucleus.major)) ** 2
        far = far + ((view.v - np.float32(v)) * np.float32(nucleus.minor)) ** 2
        density = density + np.float32(NUCLEOLUS) * np.exp(-far / np.float32(2 * NUCLEOLUS_PX**2))
    return np.asarray(np.maximum(density, 0) * np.float32(nucleus.level))


def _rim(nucleus: Nucleus, inside_px: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Factor for eosin around a nucleus: below 1 where the cytoplasm has retracted, above 1 around a dead cell."""
    width = np.float32(3.5 if nucleus.kind is NucleusClass.DEAD else 1.6)
    ring = np.exp(-(((inside_px + np.float32(2.2)) / width) ** 2) / 2)
    return 1 - np.float32(nucleus.shrinkage) * ring


def _mark(
    labels: Int32[np.ndarray, "5 h w"], kind: NucleusClass, number: int, inside_px: Float32[np.ndarray, "h w"]
) -> None:
    """Write the nucleus into the plane of its class, and remove all but a thin rim of it from all other nuclei."""
    labels[:, inside_px > SHARED_RIM_PX] = 0
    labels[NUCLEUS_CLASSES.index(kind), inside_px > 0] = number
