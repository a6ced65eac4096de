"""The nuclei of a tile, and their places."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32

from cellvit.data.simulate.architecture import Architecture, Layout
from cellvit.data.simulate.nuclei import KINDS, Nucleus, Site, random_nucleus, random_radius
from cellvit.data.simulate.organs import Organ
from cellvit.data.simulate.texture import smooth_noise, soft_step
from cellvit.taxonomy import NucleusClass

MOST_NUCLEI: Final = 289
"""Largest number of nuclei in a tile of PanNuke; here in the whole canvas."""

STROMA_PX: Final = 5600.0
"""Area of stroma for each connective nucleus in the average organ."""

INFLAMMATION_SPREAD: Final = 0.9
"""Standard deviation of the log of the number of inflammatory nuclei between tiles."""

LYMPHOID_COUNT: Final = (60, 180)
"""Inflammatory nuclei of a dense infiltrate."""

DEAD_RATE: Final = 0.12
"""Share of tiles with dying cells; PanNuke has 3 %, with which a small fold would not have the class."""

DEAD_COUNT: Final = (2, 6)
"""Dying cells in such a tile."""

STRAY_RATE: Final = 0.25
"""Share of malignant tiles in which some benign epithelium remains, and the reverse."""

CROWDING: Final = (0.6, 1.0)
"""Smallest distance of two nuclei, as a share of the sum of their radii; below 1 they touch or overlap."""

COLUMNAR: Final = frozenset({Architecture.GLANDS, Architecture.FOLLICLES})
"""Architectures with nuclei in a row, their long axes towards the lumen."""

COLUMN: Final = 0.72
"""Area of a columnar cell relative to `cell_px` of the organ."""

SOLID: Final = 1.42
"""Area of a polygonal cell relative to `cell_px` of the organ."""

BASAL_DEPTH: Final = 0.38
"""Depth of the nucleus of a columnar cell, as a share of the thickness of the epithelium."""

BASAL_SPREAD: Final = 0.17
"""Standard deviation of that share: nuclei are pseudostratified."""

DISORDER: Final = 0.5
"""Standard deviation of the nuclear orientation in radians; doubled in neoplasia (loss of polarity)."""

TRIES: Final = 12
"""Places that are tried for each nucleus before it is left out."""


@dataclass(frozen=True, slots=True)
class _Colony:
    """Nuclei of one class: their number, the weight of each place, their direction, size and disorder."""

    kind: NucleusClass
    count: int
    weight: Float32[np.ndarray, "h w"]
    angle: Float32[np.ndarray, "h w"]
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
    return nuclei[:MOST_NUCLEI]


def _colonies(organ: Organ, layout: Layout, rng: np.random.Generator) -> list[_Colony]:
    """The colonies of a tile; parenchyma first, because its places are chosen before those of the others."""
    fibres = layout.fibre_angle()
    stroma = soft_step(-layout.depth - 3, 2)
    area = float(stroma.sum())
    cells = rng.gamma(4, 0.25) * organ.stroma.density * area / STROMA_PX
    shape = layout.depth.shape
    return [
        *_parenchyma(organ, layout, rng),
        _Colony(NucleusClass.DEAD, _dead_count(rng), np.ones(shape, np.float32), fibres, 1.0, np.pi),
        _inflammation(organ, layout, stroma, rng),
        _Colony(NucleusClass.CONNECTIVE, rng.poisson(cells), stroma, fibres, rng.uniform(0.85, 1.15), 0.22),
    ]


def _parenchyma(organ: Organ, layout: Layout, rng: np.random.Generator) -> list[_Colony]:
    """Neoplastic or benign epithelium, in some tiles with some cells of the other."""
    cells = organ.parenchyma
    malignant = rng.random() < cells.malignant
    where = _epithelium(layout)
    room = float(soft_step(layout.depth, 1.5)[layout.depth < layout.thickness].sum())
    cell_px = cells.cell_px * (COLUMN if layout.architecture in COLUMNAR else SOLID)
    count = rng.poisson(room / cell_px * rng.gamma(6, 1 / 6))
    stray = rng.binomial(count, 0.3) if rng.random() < STRAY_RATE else 0
    kinds = (NucleusClass.NEOPLASTIC, NucleusClass.EPITHELIAL)
    main, other = kinds if malignant else kinds[::-1]
    patch = soft_step(smooth_noise(rng, layout.depth.shape, 90), 0.1)
    atypia = rng.uniform(0.88, 1.14) if malignant else rng.uniform(0.94, 1.06)
    order = DISORDER if layout.architecture in COLUMNAR else np.pi
    angle = layout.basal_angle()
    return [
        _Colony(main, count - stray, where, angle, cells.nuclear_scale * atypia, order * (2 if malignant else 1)),
        _Colony(other, stray, where * patch, angle, cells.nuclear_scale, order),
    ]


def _epithelium(layout: Layout) -> Float32[np.ndarray, "h w"]:
    """Weight of each place for parenchymal nuclei: in a row near the base of columnar cells, else anywhere."""
    inside = soft_step(layout.depth - 4, 1.5) * (layout.depth < layout.thickness - 3)
    if layout.architecture not in COLUMNAR:
        return inside
    share = layout.depth / np.maximum(layout.thickness, 1)
    return np.asarray(inside * np.exp(-(((share - np.float32(BASAL_DEPTH)) / np.float32(BASAL_SPREAD)) ** 2) / 2))


def _inflammation(
    organ: Organ, layout: Layout, stroma: Float32[np.ndarray, "h w"], rng: np.random.Generator
) -> _Colony:
    """Lymphocytes and plasma cells, mostly in stroma and in clusters."""
    if layout.architecture is Architecture.LYMPHOID:
        count = int(rng.integers(*LYMPHOID_COUNT))
    else:
        count = rng.poisson(organ.guests.inflammation * np.exp(rng.normal(0, INFLAMMATION_SPREAD)))
    clusters = np.exp(1.4 * smooth_noise(rng, stroma.shape, 50))
    weight = (stroma + np.float32(0.04)) * clusters
    return _Colony(NucleusClass.INFLAMMATORY, count, weight, layout.fibre_angle(), rng.uniform(0.92, 1.1), np.pi)


def _dead_count(rng: np.random.Generator) -> int:
    return int(rng.integers(*DEAD_COUNT, endpoint=True)) if rng.random() < DEAD_RATE else 0


def _settle(
    colony: _Colony, taken: np.ndarray, crowding: float, rng: np.random.Generator
) -> tuple[list[Site], np.ndarray]:
    """Sites for a colony by dart throwing between those taken (rows of y, x, radius), and all taken sites afterwards."""
    sites: list[Site] = []
    if not colony.count:
        return sites, taken
    total = np.cumsum(colony.weight, dtype=np.float64)
    if total[-1] <= 0:
        return sites, taken
    darts = np.searchsorted(total, rng.uniform(0, total[-1], TRIES * colony.count), side="right")
    rows, columns = np.divmod(np.minimum(darts, total.size - 1), colony.weight.shape[1])
    elongation = sum(KINDS[colony.kind].aspect) / 2
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if len(sites) == colony.count:
            break
        y, x = row + rng.uniform(-0.5, 0.5), column + rng.uniform(-0.5, 0.5)
        radius = random_radius(colony.kind, rng, scale=colony.scale)
        room = crowding * (taken[:, 2] + radius * min(elongation**0.25, 1.3))
        if np.any((taken[:, 0] - y) ** 2 + (taken[:, 1] - x) ** 2 < room**2):
            continue
        taken = np.vstack([taken, (y, x, radius)])
        sites.append(Site(y, x, radius, colony.angle[row, column] + rng.normal(0, colony.disorder)))
    return sites, taken
