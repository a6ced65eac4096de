"""The nuclei of a tile: number, places, size, shape and chromatin of each of the five classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from cellvit.data.simulate.architecture import Architecture, Layout
from cellvit.data.simulate.organs import Organ
from cellvit.data.simulate.texture import Ellipse, Plane, smooth_noise, soft_step
from cellvit.taxonomy import NucleusClass

MOST_NUCLEI: Final = 289  # largest number of nuclei in a tile of PanNuke; here in the whole canvas of a tile
STROMA_PX: Final = 5600.0  # area of stroma for each connective nucleus in the average organ
INFLAMMATION_SPREAD: Final = 0.9  # standard deviation of the log of the number of inflammatory nuclei between tiles
LYMPHOID_COUNT: Final = (60, 180)  # inflammatory nuclei of a dense infiltrate
DEAD_RATE: Final = 0.12  # share of tiles with dying cells; with the 3 % of PanNuke a small fold might have none
DEAD_COUNT: Final = (2, 6)  # dying cells in such a tile
STRAY_RATE: Final = 0.25  # share of malignant tiles in which some benign epithelium remains, and the reverse
CROWDING: Final = (0.6, 1.0)  # smallest distance of two nuclei over the sum of their radii; below 1 they may touch
TRIES: Final = 12  # places that are tried for each nucleus before it is left out

COLUMNAR: Final = frozenset({Architecture.GLANDS, Architecture.FOLLICLES})
"""Architectures with nuclei in a row, their long axes towards the lumen."""

COLUMN: Final = 0.72  # area of a columnar cell relative to `cell_px` of the organ
SOLID: Final = 1.42  # area of a polygonal cell relative to it
BASAL_DEPTH: Final = 0.38  # depth of the nucleus of a columnar cell, as a share of the thickness of the epithelium
BASAL_SPREAD: Final = 0.17  # standard deviation of that share: nuclei are pseudostratified
DISORDER: Final = (
    0.5  # standard deviation of the nuclear orientation in radians; doubled in neoplasia (loss of polarity)
)

BEND: Final = 0.16  # largest bend of a nucleus: the sagitta as a share of its long half axis
SOFTNESS_PX: Final = (0.5, 1.6)  # width of the blurred rim of a nucleus; above 1 it is out of the plane of focus
WAVES: Final = (2, 3, 4, 5)  # angular frequencies of the irregularities of an outline, without gaps


class Kind(NamedTuple):
    """Distribution of one class of nuclei; pairs are the limits of a uniform distribution."""

    radius_px: float  # median of the geometric mean of the half axes
    spread: float  # standard deviation of the log of the radius
    aspect: tuple[float, float]  # long over short axis
    irregularity: tuple[float, float]  # amplitude of the waves of the outline, as a share of the radius
    level: tuple[float, float]  # hematoxylin of the chromatin; 1 is a typical nucleus
    coarseness: float  # contrast of the texture of the chromatin
    clump_px: float  # width of its clumps
    vesicular: float  # probability that the interior is as pale as the cytoplasm, inside a dark membrane
    nucleoli: int  # largest number of nucleoli
    shrinkage: tuple[float, float]  # strength of the clear (positive) or eosinophilic (negative) rim around the nucleus


# fmt: off
KINDS: Final[Mapping[NucleusClass, Kind]] = {
    # Enlarged, pleomorphic, coarse chromatin, prominent nucleoli: the cytology of malignancy.
    NucleusClass.NEOPLASTIC: Kind(14.0, 0.20, (1.0, 1.75), (0.03, 0.10), (0.55, 1.15), 0.34, 3.2, 0.35, 3, (-0.1, 0.35)),
    # Lymphocytes and plasma cells, 6 to 8 um wide: small, round, dark, homogeneous.
    NucleusClass.INFLAMMATORY: Kind(7.6, 0.11, (1.0, 1.25), (0.0, 0.04), (0.8, 1.35), 0.16, 2.2, 0.04, 0, (0.0, 0.35)),
    # Fibroblasts, smooth muscle and endothelium: spindles along the fibres. Wider than the thinnest real ones: with
    # aspects of 2.2 to 4.6 the watershed lost them even on perfect maps (upper bound of AJI .14 on a tile of stroma).
    NucleusClass.CONNECTIVE: Kind(9.2, 0.16, (1.8, 3.4), (0.0, 0.05), (0.55, 1.05), 0.18, 2.2, 0.18, 0, (0.0, 0.15)),
    # Pyknosis and karyorrhexis: shrunken, very dark, in pieces, in a retracted eosinophilic cell.
    NucleusClass.DEAD: Kind(6.0, 0.18, (1.0, 1.5), (0.06, 0.16), (1.4, 1.9), 0.45, 3.2, 0.0, 0, (-1.0, -0.5)),
    # Benign epithelium: medium, oval, regular, pale and finely granular.
    NucleusClass.EPITHELIAL: Kind(12.0, 0.08, (1.1, 1.7), (0.0, 0.035), (0.48, 0.86), 0.2, 2.2, 0.3, 1, (-0.05, 0.2)),
}
# fmt: on
"""Cytology of each class; sizes at 0.25 um per pixel, chosen so that counts and coverage are near those of PanNuke."""


@dataclass(frozen=True, slots=True)
class Nucleus:
    """One nucleus to paint; `bend`, `waves` and `nucleoli` change the outline and interior of the ellipse `body`."""

    kind: NucleusClass
    body: Ellipse
    bend: float
    waves: tuple[complex, ...]
    level: float
    vesicular: bool
    nucleoli: tuple[tuple[float, float], ...]
    softness_px: float
    shrinkage: float


class Site(NamedTuple):
    """A place for a nucleus, with its size and direction."""

    y: float
    x: float
    radius_px: float
    angle: float


class _Colony(NamedTuple):
    """Nuclei of one class: their number, the weight of each place, their direction, size and disorder."""

    kind: NucleusClass
    n_nuclei: int
    weight: Plane
    angle: Plane
    scale: float
    disorder: float


def populate(organ: Organ, layout: Layout, rng: np.random.Generator) -> list[Nucleus]:
    """Nuclei of a canvas in the order in which they are painted."""
    nuclei: list[Nucleus] = []
    taken = np.empty((0, 3))
    crowding = rng.uniform(*CROWDING)
    for colony in _colonies(organ, layout, rng):
        sites, taken = _settle(colony, taken, crowding, rng)
        nuclei += [random_nucleus(colony.kind, site, rng) for site in sites]
    rng.shuffle(nuclei)  # type: ignore[arg-type]
    return nuclei[: MOST_NUCLEI * layout.n_tiles]


def random_nucleus(kind: NucleusClass, site: Site, rng: np.random.Generator) -> Nucleus:
    """A nucleus at a site, with random appearance."""
    traits = KINDS[kind]
    stretch = rng.uniform(*traits.aspect) ** 0.5
    amplitude = rng.uniform(*traits.irregularity)
    phases = np.exp(2j * np.pi * rng.random(len(WAVES)))
    body = Ellipse(site.y, site.x, site.radius_px * stretch, site.radius_px / stretch, site.angle)
    return Nucleus(
        kind=kind,
        body=body,
        bend=rng.uniform(-BEND, BEND) / body.major,
        waves=tuple(amplitude * rng.random(len(WAVES)) * phases),
        level=rng.uniform(*traits.level),
        vesicular=bool(rng.random() < traits.vesicular),
        nucleoli=tuple(map(tuple, rng.uniform(-0.5, 0.5, (rng.integers(0, traits.nucleoli + 1), 2)))),
        softness_px=rng.uniform(*SOFTNESS_PX),
        shrinkage=rng.uniform(*traits.shrinkage),
    )


def _colonies(organ: Organ, layout: Layout, rng: np.random.Generator) -> list[_Colony]:
    """The colonies of a tile; parenchyma first, because its places are chosen before those of the others."""
    fibres = layout.fibre_angle()
    stroma = soft_step(-layout.depth - 3, 2)
    fibroblasts = rng.gamma(4, 0.25) * organ.fibroblasts * float(stroma.sum()) / STROMA_PX
    parenchyma = _parenchyma(organ, layout, rng)
    dead = rng.integers(*DEAD_COUNT, endpoint=True) if rng.random() < DEAD_RATE else 0
    if layout.architecture is Architecture.LYMPHOID:
        inflamed = rng.integers(*LYMPHOID_COUNT) * layout.n_tiles
    else:
        inflamed = rng.poisson(layout.n_tiles * organ.inflammation * np.exp(rng.normal(0, INFLAMMATION_SPREAD)))
    # Lymphocytes and plasma cells are mostly in the stroma, in clusters.
    clusters = (stroma + np.float32(0.04)) * np.exp(1.4 * smooth_noise(rng, stroma.shape, 50))
    return [
        *parenchyma,
        _Colony(NucleusClass.DEAD, int(dead), np.ones_like(stroma), fibres, 1.0, np.pi),
        _Colony(NucleusClass.INFLAMMATORY, int(inflamed), clusters, fibres, rng.uniform(0.92, 1.1), np.pi),
        _Colony(NucleusClass.CONNECTIVE, rng.poisson(fibroblasts), stroma, fibres, rng.uniform(0.85, 1.15), 0.22),
    ]


def _parenchyma(organ: Organ, layout: Layout, rng: np.random.Generator) -> tuple[_Colony, _Colony]:
    """Neoplastic or benign epithelium, in some tiles with some cells of the other."""
    malignant = rng.random() < organ.malignant
    columnar = layout.architecture in COLUMNAR
    where = soft_step(layout.depth - 4, 1.5) * (layout.depth < layout.thickness - 3)
    if columnar:  # in a row near the base, else anywhere
        share = layout.depth / np.maximum(layout.thickness, 1)
        where = where * np.exp(-(((share - np.float32(BASAL_DEPTH)) / np.float32(BASAL_SPREAD)) ** 2) / 2)
    room = float(soft_step(layout.depth, 1.5)[layout.depth < layout.thickness].sum())
    cell_px = organ.cell_px * (COLUMN if columnar else SOLID)
    count = rng.poisson(room / cell_px * rng.gamma(6, 1 / 6))
    stray = rng.binomial(count, 0.3) if rng.random() < STRAY_RATE else 0
    kinds = (NucleusClass.NEOPLASTIC, NucleusClass.EPITHELIAL)
    main, other = kinds if malignant else kinds[::-1]
    patch = soft_step(smooth_noise(rng, layout.depth.shape, 90), 0.1)
    atypia = rng.uniform(0.88, 1.14) if malignant else rng.uniform(0.94, 1.06)
    order = DISORDER if columnar else np.pi
    angle = layout.basal_angle()
    return (
        _Colony(main, count - stray, where, angle, organ.nuclear_scale * atypia, order * (2 if malignant else 1)),
        _Colony(other, stray, where * patch, angle, organ.nuclear_scale, order),
    )


def _settle(
    colony: _Colony, taken: np.ndarray, crowding: float, rng: np.random.Generator
) -> tuple[list[Site], np.ndarray]:
    """Sites for a colony by dart throwing between those taken (rows of y, x, radius), and all taken sites afterwards."""
    sites: list[Site] = []
    total = np.cumsum(colony.weight, dtype=np.float64)
    if not colony.n_nuclei or total[-1] <= 0:
        return sites, taken
    traits = KINDS[colony.kind]
    darts = np.searchsorted(total, rng.uniform(0, total[-1], TRIES * colony.n_nuclei), side="right")
    rows, columns = np.divmod(np.minimum(darts, total.size - 1), colony.weight.shape[1])
    elongation = sum(traits.aspect) / 2
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if len(sites) == colony.n_nuclei:
            break
        y, x = row + rng.uniform(-0.5, 0.5), column + rng.uniform(-0.5, 0.5)
        radius = float(colony.scale * traits.radius_px * np.exp(rng.normal(0, traits.spread)))
        room = crowding * (taken[:, 2] + radius * min(elongation**0.25, 1.3))
        if np.any((taken[:, 0] - y) ** 2 + (taken[:, 1] - x) ** 2 < room**2):
            continue
        taken = np.vstack([taken, (y, x, radius)])
        sites.append(Site(y, x, radius, colony.angle[row, column] + rng.normal(0, colony.disorder)))
    return sites, taken
