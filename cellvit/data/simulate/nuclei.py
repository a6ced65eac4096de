"""Appearance of nuclei of the five classes: size, shape, chromatin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cellvit.taxonomy import NucleusClass


@dataclass(frozen=True, slots=True)
class Kind:
    """Distribution of one class of nuclei; pairs are the limits of a uniform distribution.

    Attributes:
        radius_px: Median of the geometric mean of the half axes.
        spread: Standard deviation of the log of the radius.
        aspect: Long over short axis.
        irregularity: Amplitude of the waves of the outline, as a share of the radius.
        level: Hematoxylin of the chromatin; 1 is a typical nucleus.
        coarseness: Contrast of the texture of the chromatin.
        clump_px: Width of its clumps.
        vesicular: Probability that the interior is as pale as the cytoplasm, inside a dark membrane.
        nucleoli: Largest number of nucleoli.
        shrinkage: Strength of the clear (positive) or eosinophilic (negative) rim around the nucleus.
    """

    radius_px: float
    spread: float
    aspect: tuple[float, float]
    irregularity: tuple[float, float]
    level: tuple[float, float]
    coarseness: float
    clump_px: float
    vesicular: float
    nucleoli: int
    shrinkage: tuple[float, float]


KINDS: Final[Mapping[NucleusClass, Kind]] = {
    # Enlarged, pleomorphic, coarse chromatin, prominent nucleoli: the cytology of malignancy.
    NucleusClass.NEOPLASTIC: Kind(
        radius_px=14.0,
        spread=0.20,
        aspect=(1.0, 1.75),
        irregularity=(0.03, 0.10),
        level=(0.55, 1.15),
        coarseness=0.34,
        clump_px=3.2,
        vesicular=0.35,
        nucleoli=3,
        shrinkage=(-0.1, 0.35),
    ),
    # Lymphocytes and plasma cells, 6 to 8 um wide: small, round, dark, homogeneous.
    NucleusClass.INFLAMMATORY: Kind(
        radius_px=7.6,
        spread=0.11,
        aspect=(1.0, 1.25),
        irregularity=(0.0, 0.04),
        level=(0.8, 1.35),
        coarseness=0.16,
        clump_px=2.2,
        vesicular=0.04,
        nucleoli=0,
        shrinkage=(0.0, 0.35),
    ),
    # Fibroblasts, smooth muscle and endothelium: spindles along the fibres. Wider than the thinnest real ones: with
    # aspects of 2.2 to 4.6 the watershed lost them even on perfect maps (upper bound of AJI .14 on a tile of stroma).
    NucleusClass.CONNECTIVE: Kind(
        radius_px=9.2,
        spread=0.16,
        aspect=(1.8, 3.4),
        irregularity=(0.0, 0.05),
        level=(0.55, 1.05),
        coarseness=0.18,
        clump_px=2.2,
        vesicular=0.18,
        nucleoli=0,
        shrinkage=(0.0, 0.15),
    ),
    # Pyknosis and karyorrhexis: shrunken, very dark, in pieces, in a retracted eosinophilic cell.
    NucleusClass.DEAD: Kind(
        radius_px=6.0,
        spread=0.18,
        aspect=(1.0, 1.5),
        irregularity=(0.06, 0.16),
        level=(1.4, 1.9),
        coarseness=0.45,
        clump_px=3.2,
        vesicular=0.0,
        nucleoli=0,
        shrinkage=(-1.0, -0.5),
    ),
    # Benign epithelium: medium, oval, regular, pale and finely granular.
    NucleusClass.EPITHELIAL: Kind(
        radius_px=12.0,
        spread=0.08,
        aspect=(1.1, 1.7),
        irregularity=(0.0, 0.035),
        level=(0.48, 0.86),
        coarseness=0.2,
        clump_px=2.2,
        vesicular=0.3,
        nucleoli=1,
        shrinkage=(-0.05, 0.2),
    ),
}
"""Cytology of each class; sizes at 0.25 um per pixel, chosen so that counts and coverage are near those of PanNuke."""

BEND: Final = 0.16
"""Largest bend of a nucleus: the sagitta as a share of its long half axis."""

SOFTNESS_PX: Final = (0.5, 1.6)
"""Width of the blurred rim of a nucleus; the upper half of the range is out of the plane of focus."""

WAVES: Final = (2, 3, 4, 5)
"""Angular frequencies of the irregularities of an outline, without gaps."""


@dataclass(frozen=True, slots=True)
class Nucleus:
    """One nucleus to paint: its place (px, radians) and its appearance."""

    kind: NucleusClass
    y: float
    x: float
    major: float
    minor: float
    angle: float
    bend: float
    waves: tuple[complex, ...]
    level: float
    vesicular: bool
    nucleoli: tuple[tuple[float, float], ...]
    softness_px: float
    shrinkage: float


@dataclass(frozen=True, slots=True)
class Site:
    """A place for a nucleus, with its size and direction."""

    y: float
    x: float
    radius_px: float
    angle: float


def random_nucleus(kind: NucleusClass, site: Site, rng: np.random.Generator) -> Nucleus:
    """A nucleus at a site, with random appearance."""
    traits = KINDS[kind]
    aspect = rng.uniform(*traits.aspect)
    amplitude = rng.uniform(*traits.irregularity)
    phases = np.exp(2j * np.pi * rng.random(len(WAVES)))
    return Nucleus(
        kind=kind,
        y=site.y,
        x=site.x,
        major=site.radius_px * aspect**0.5,
        minor=site.radius_px / aspect**0.5,
        angle=site.angle,
        bend=rng.uniform(-BEND, BEND) / (site.radius_px * aspect**0.5),
        waves=tuple(amplitude * rng.random(len(WAVES)) * phases),
        level=rng.uniform(*traits.level),
        vesicular=bool(rng.random() < traits.vesicular),
        nucleoli=tuple(map(tuple, rng.uniform(-0.5, 0.5, (rng.integers(0, traits.nucleoli + 1), 2)))),
        softness_px=rng.uniform(*SOFTNESS_PX),
        shrinkage=rng.uniform(*traits.shrinkage),
    )


def random_radius(kind: NucleusClass, rng: np.random.Generator, *, scale: float) -> float:
    """Geometric mean of the half axes of a nucleus in px, `scale` times that of its class."""
    traits = KINDS[kind]
    return float(scale * traits.radius_px * np.exp(rng.normal(0, traits.spread)))
