"""Images of synthetic nuclei and their perfect maps, cut into the windows of the grid and decoded as a prediction is."""

from collections.abc import Sequence

import numpy as np

from cellvit.formats.nuclei import NucleiTable
from cellvit.hover.decode import HvFlow, Watershed
from cellvit.hover.encode import hv_maps
from cellvit.hover.relabel import relabel
from cellvit.prediction.grid import tile_grid
from cellvit.prediction.merge import resolved
from cellvit.prediction.windows import candidates_of, window_of
from cellvit.taxonomy import TILE_PX

N_CLASSES = 2


def disks(height: int, width: int, nuclei: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """Label image of round nuclei (row, column, radius); later ones do not cover earlier ones."""
    labels = np.zeros((height, width), np.int32)
    for label, (row, column, radius) in enumerate(nuclei, start=1):
        top, left = max(int(row - radius) - 1, 0), max(int(column - radius) - 1, 0)
        part = labels[top : int(row + radius) + 3, left : int(column + radius) + 3]
        y, x = np.ogrid[: part.shape[0], : part.shape[1]]
        part[((y + top - row) ** 2 + (x + left - column) ** 2 <= radius**2) & (part == 0)] = label
    return relabel(labels)


def random_field(height: int, width: int, *, seed: int, spacing: int = 24, large: bool = False) -> np.ndarray:
    """Label image of elliptical nuclei on a jittered lattice, none touching another; some of 100 px where `large`."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((height, width), np.int32)
    free = np.ones((height, width), bool)
    sizes = [(50.0, 42.0)] * (height * width // 300**2) * large
    sizes += [tuple(rng.uniform(5, 10, 2)) for _ in range(height * width // spacing**2)]
    for label, (long, short) in enumerate(sizes, start=1):
        for _ in range(20):
            row, column, angle = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, np.pi)
            reach = int(max(long, short)) + 3
            top, left = max(int(row) - reach, 0), max(int(column) - reach, 0)
            box = np.s_[top : int(row) + reach, left : int(column) + reach]
            y, x = np.indices(labels[box].shape)
            y, x = y + top - row, x + left - column
            u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            if free[box][(u / (long + 2)) ** 2 + (v / (short + 2)) ** 2 <= 1].all():
                inside = (u / long) ** 2 + (v / short) ** 2 <= 1
                labels[box][inside], free[box][inside] = label, False
                break
    return relabel(labels)


def maps_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Perfect NP, HV and NT maps of a label image; odd labels have class 1, even ones class 2."""
    nt_prob = np.zeros((N_CLASSES + 1, *labels.shape), np.float32)
    for channel, where in enumerate((labels == 0, labels % 2 == 1, (labels > 0) & (labels % 2 == 0))):
        nt_prob[channel][where] = 1
    return (labels > 0).astype(np.float32), hv_maps(labels[None])[0], nt_prob


def all_candidates(
    np_prob: np.ndarray,
    hv: np.ndarray,
    nt_prob: np.ndarray,
    *,
    watershed: Watershed | None = None,
    overlap_px: int = 128,
    image: np.ndarray | None = None,
) -> NucleiTable:
    """Candidates of every window of an image with these maps, row by row; a small image is reflected."""
    height, width = np_prob.shape
    if image is None:
        image = np.full((height, width, 3), 180, np.uint8)
    grid = tile_grid(width, height, overlap_px=overlap_px)
    rows = [(0, max(TILE_PX - height, 0)), (0, max(TILE_PX - width, 0))]
    image = np.pad(image, [*rows, (0, 0)], mode="reflect")
    np_prob = np.pad(np_prob, rows, mode="reflect")
    hv, nt_prob = (np.pad(maps, [(0, 0), *rows], mode="reflect") for maps in (hv, nt_prob))
    tables = []
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            window = window_of(grid, row, column)
            box = np.s_[window.y : window.y + TILE_PX, window.x : window.x + TILE_PX]
            maps = (np_prob[box], hv[:, *box], nt_prob[:, *box])
            chosen = watershed or HvFlow()
            tables.append(candidates_of(window, image[box], *maps, watershed=chosen, temperature=1, unlike=False))
    return NucleiTable.concatenated(tables)


def merged(candidates: NucleiTable) -> NucleiTable:
    """All candidates of an image resolved at once."""
    return resolved(candidates, candidates.at(np.zeros(len(candidates), bool)))


def merged_in_chunks(candidates: NucleiTable, side: int) -> NucleiTable:
    """The nuclei of blocks of side x side windows, each resolved with the candidates of the other blocks around."""
    block = candidates.row // side * 10_000 + candidates.column // side
    parts = [resolved(candidates.at(block == one), candidates.at(block != one)) for one in np.unique(block)]
    return NucleiTable.concatenated(parts)
