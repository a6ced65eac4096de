"""The tissue around nuclei: cytoplasm, stroma, lumen, vacuoles, and structures that look like nuclei.

Amounts are concentrations of dye; amplitudes of textures without a name were chosen by eye from tiles of CoNSeP and
MoNuSeg.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32

from cellvit.data.simulate.architecture import Architecture, Layout
from cellvit.data.simulate.nuclei import Nucleus
from cellvit.data.simulate.organs import Organ
from cellvit.data.simulate.texture import (
    Ellipse,
    Plane,
    fibre_noise,
    fractal_noise,
    smooth_noise,
    soft_ellipses,
    soft_step,
)
from cellvit.taxonomy import NucleusClass

GLASS: Final = (0.01, 0.02)  # hematoxylin and eosin without tissue
COLLOID: Final = (0.04, 0.85)  # hematoxylin and eosin of the content of a follicle
FIBRIL_PX: Final = 2.4  # width of the finest strands of collagen that a lens resolves
MUCOID: Final = 0.22  # hematoxylin of loose stroma at its bluest
ERYTHROCYTE_PX: Final = (8.0, 12.5)  # radius: 4 to 6 um wide after fixation
GRAIN_PX: Final = (0.7, 2.6)  # half axes of a granule of pigment: under 1 um wide, or clumped

PARENCHYMAL: Final = frozenset({NucleusClass.NEOPLASTIC, NucleusClass.EPITHELIAL})
"""Classes of the cells that fill the epithelium."""

BLOTS: Final = (
    (2.2, (3.0, 28.0), (0.25, 0.7), 3.0),  # smears: crushed chromatin, nuclei at the other face of the section
    (5.0, (6.0, 13.0), (0.1, 0.4), 2.2),  # nuclei too far out of focus to be annotated, in the size of others
    (4.0, (0.8, 2.8), (0.5, 1.2), 0.7),  # dark specks
)
"""Hematoxylin that is not in a nucleus: mean number in a tile, half axes, strength, and width of the soft rim."""

Shape = tuple[int, int]
TwoDyes = Float32[np.ndarray, "2 h w"]  # hematoxylin and eosin


def grow_tissue(
    organ: Organ, layout: Layout, nuclei: Sequence[Nucleus], rng: np.random.Generator
) -> Float32[np.ndarray, "4 h w"]:
    """Concentrations of hematoxylin, eosin, blood and pigment, before nuclei are painted."""
    shape = layout.depth.shape
    dyes = np.zeros((4, *shape), np.float32)
    epithelium = soft_step(layout.depth, 1.2)
    lumen = soft_step(layout.depth - layout.thickness, 1.2)
    cells, stroma, content = _cytoplasm(organ, shape, nuclei, rng), _stroma(organ, layout, rng), _lumen(layout, rng)
    dyes[:2] = stroma + epithelium * (cells - stroma)
    dyes[:2] += lumen * (content - dyes[:2])
    tissue = 1 - lumen
    if rng.random() <= organ.blood:
        dyes[2] = _blood(shape, rng)
    dyes[:2] *= 1 - 0.85 * np.minimum(dyes[2], 1)
    dyes[0] += _smears(shape, rng) * tissue
    if rng.random() <= organ.pigment:
        dyes[3] = _pigment(shape, rng) * tissue
    return np.maximum(dyes, 0)


def _stroma(organ: Organ, layout: Layout, rng: np.random.Generator) -> TwoDyes:
    """Collagen in strands with clefts, in some places loose and bluish."""
    length, width = organ.fibre_px
    coarse, strand, fibril = (
        fibre_noise(rng, layout.along, layout.across, (length / part, max(width / part, FIBRIL_PX)))
        for part in (1, 2.5, 6)
    )
    shape = layout.depth.shape
    loose = soft_step(fractal_noise(rng, shape, 70) - np.float32(rng.uniform(0.0, 1.5)), 0.25)
    eosin = np.float32(organ.collagen) * (1 + 0.13 * coarse + 0.15 * strand + 0.10 * fibril) * (1 - 0.4 * loose)
    torn = soft_step(smooth_noise(rng, shape, 60) + np.float32(2.4 * organ.clefts - 0.9), 0.2)
    gap = torn * np.exp(-((strand / 0.3) ** 2)) * soft_step(coarse + loose, 0.2)
    hematoxylin = 0.07 + np.float32(MUCOID) * loose * (1 + 0.5 * strand) + 0.04 * coarse + 0.02 * fibril
    return np.stack([hematoxylin * (1 - 0.8 * gap), np.maximum(eosin, 0.08) * (1 - 0.9 * gap)])


def _cytoplasm(organ: Organ, shape: Shape, nuclei: Sequence[Nucleus], rng: np.random.Generator) -> TwoDyes:
    """Granular cytoplasm, paler or darker from cell to cell, with membranes between cells and vacuoles within."""
    hematoxylin, eosin = organ.cytoplasm
    bodies = [nucleus.body for nucleus in nuclei if nucleus.kind in PARENCHYMAL]
    grain = fractal_noise(rng, shape, 5)
    clouds = smooth_noise(rng, shape, 40)
    shade, membrane = _cells(shape, bodies, rng)
    blue = np.float32(hematoxylin * rng.uniform(0.7, 1.8)) * shade * (1 + 0.2 * grain + 0.3 * clouds)
    pink = np.float32(eosin) * shade * (1 + 0.12 * grain + 0.12 * clouds)
    clear = 1 - 0.9 * _vacuoles(organ.vacuoles * rng.gamma(1.2, 1 / 1.2), bodies, shape, rng)
    edge = membrane * np.float32(rng.uniform(-0.9, 0.6))
    return np.stack([blue * clear, np.maximum(pink * (1 + edge), 0.05) * clear])


def _cells(shape: Shape, bodies: Sequence[Ellipse], rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Shade of each cell (the Voronoi cell of its nucleus), about 1, and the borders between cells, 0..1."""
    centres = np.ones(shape, np.uint8)
    for body in bodies:
        row, column = int(body.y), int(body.x)
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            centres[row, column] = 0
    if centres.all():
        return np.ones(shape, np.float32), np.zeros(shape, np.float32)
    _, cell = cv2.distanceTransformWithLabels(centres, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    shade = rng.normal(1, 0.2, cell.max() + 1).astype(np.float32)[cell]
    border = cv2.morphologyEx(cell.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    return cv2.GaussianBlur(shade, (0, 0), 2), cv2.GaussianBlur(border.astype(np.float32), (0, 0), 0.9)


def _vacuoles(rate: float, bodies: Sequence[Ellipse], shape: Shape, rng: np.random.Generator) -> Plane:
    """Coverage by clear vacuoles, on average `rate` of them beside each nucleus."""
    bubbles = []
    for body in bodies:
        for _ in range(rng.poisson(rate)):
            turn, radius = rng.uniform(0, 2 * np.pi), rng.uniform(3, 11)
            far = body.minor + 0.8 * radius
            y, x = body.y + far * np.sin(turn), body.x + far * np.cos(turn)
            bubbles.append(Ellipse(y, x, radius * rng.uniform(1, 1.3), radius, turn))
    return soft_ellipses(shape, bubbles, softness_px=0.8)


def _lumen(layout: Layout, rng: np.random.Generator) -> TwoDyes:
    """Content of the lumen: colloid in follicles, else little or a secretion."""
    shape = layout.depth.shape
    if layout.architecture is Architecture.FOLLICLES:
        level = np.array(COLLOID) * rng.uniform(0.6, 1.15)
        retracted = soft_step(layout.depth - layout.thickness - rng.uniform(0, 5), 1.0)
        return np.stack([np.float32(dye) * retracted * (1 + 0.04 * smooth_noise(rng, shape, 60)) for dye in level])
    secretion = soft_step(fractal_noise(rng, shape, 45) - np.float32(rng.uniform(0.3, 2.5)), 0.2)
    strength = rng.uniform(0.1, 0.35, 2) * (0.4, 1)
    return np.stack([glass + np.float32(dye) * secretion for glass, dye in zip(GLASS, strength, strict=True)])


def _blood(shape: Shape, rng: np.random.Generator) -> Plane:
    """Erythrocytes in a clump, paler in the middle."""
    centre, spread = rng.uniform(0, 1, 2) * shape, rng.uniform(12, 45)
    count = rng.integers(2, 16)
    places = centre + rng.normal(0, spread, (count, 2))
    radii = rng.uniform(*ERYTHROCYTE_PX, count) * rng.uniform(0.7, 1)
    discs = [
        Ellipse(y, x, r * rng.uniform(1, 1.35), r, rng.uniform(0, np.pi))
        for (y, x), r in zip(places, radii, strict=True)
    ]
    pallor = [disc._replace(major=disc.major * 0.5, minor=disc.minor * 0.5) for disc in discs]
    whole = np.float32(rng.uniform(0.55, 0.95)) * soft_ellipses(shape, discs, softness_px=0.7)
    return whole * (1 - 0.25 * soft_ellipses(shape, pallor, softness_px=1.5))


def _pigment(shape: Shape, rng: np.random.Generator) -> Plane:
    """Brown granules in a cloud."""
    centre, spread = rng.uniform(0, 1, 2) * shape, rng.uniform(10, 60)
    places = centre + rng.normal(0, spread, (rng.integers(15, 70), 2))
    return np.float32(rng.uniform(0.4, 1.1)) * soft_ellipses(shape, _specks(places, GRAIN_PX, rng), softness_px=0.5)


def _smears(shape: Shape, rng: np.random.Generator) -> Plane:
    """Hematoxylin outside nuclei."""
    coverage = []
    for rate, half_px, level, softness_px in BLOTS:
        strength = np.float32(rng.uniform(*level))
        specks = _specks(rng.uniform(0, shape, (rng.poisson(rate), 2)), half_px, rng)
        coverage.append(strength * soft_ellipses(shape, specks, softness_px=softness_px))
    wisps = np.clip(0.75 + 0.5 * fractal_noise(rng, shape, 7), 0, 1.5)
    return np.asarray(wisps * np.sum(coverage, axis=0))


def _specks(places: np.ndarray, half_px: tuple[float, float], rng: np.random.Generator) -> list[Ellipse]:
    """Ellipses at places (rows of y, x), in random directions, with random half axes between two limits."""
    halves = np.sort(rng.uniform(*half_px, (len(places), 2)))[:, ::-1]
    angles = rng.uniform(0, np.pi, len(places))
    return [Ellipse(*row) for row in np.column_stack([places, halves, angles]).tolist()]
