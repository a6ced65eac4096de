"""Tiles for the measurements: synthetic ones or those of a run, each with a prediction and with degraded maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.draw import ellipse

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.tiles import open_tiles
from cellvit.hover.relabel import relabel
from cellvit.hover.upper_bound import perfect_maps
from cellvit.metrics.pannuke import tile_scores
from cellvit.taxonomy import NUCLEUS_CLASSES, TILE_PX

COVERAGE: Final = (0.16, 25, 0.47)
"""Share of nuclear pixels: 16 % at 25 nuclei, growing with this power of their number (37 % at 150, as in PanNuke)."""

CLIPPED: Final = 1.05
"""Area of the ellipses divided by the area that is left after clipping at the border and at other nuclei."""

SHARE: Final = (0.41, 0.17, 0.27, 0.015, 0.135)
"""Frequencies of the classes 1 to 5 among PanNuke's nuclei."""

TRIES: Final = 2000
"""Positions that are tried for one nucleus before its tile counts as full."""

LEAST_PX: Final = 30
"""Smallest synthetic nucleus."""

SHIFT_PX: Final = 2
"""Shift of a prediction against its ground truth, down and to the right."""

ERROR_EVERY: Final = 12
"""One nucleus in 12 is missed, one is merged with its neighbour, and one gets a random class."""

BLUR_PX: Final = 1.5
"""Standard deviation of the blur of a perfect map; with the noise, AJI on it is about 0.9 at 25 nuclei, 0.8 at 150."""

NOISE: Final = 0.15
"""Standard deviation of the smooth noise on a map."""


class Nuclei(NamedTuple):
    """True or predicted nuclei of one tile, in every form that some function takes.

    Attributes:
        instances: Labels 1..n without gaps, 0 is background.
        classes: Class of each pixel.
        class_of: Class of each nucleus, in the order of the labels.
        at: Centroid of each nucleus, (row, column) in pixels.
        masks: PanNuke's layout and type, one channel of ids per class.
    """

    instances: Int32[np.ndarray, "h w"]
    classes: UInt8[np.ndarray, "h w"]
    class_of: Int64[np.ndarray, " n"]
    at: Float64[np.ndarray, "n 2"]
    masks: Float64[np.ndarray, "h w 5"]


@dataclass(frozen=True, slots=True)
class Case:
    """Input of every function for one tile; the time to make it is not measured.

    Attributes:
        true: The ground truth.
        predicted: A prediction: the ground truth, shifted, with nuclei that are missed, merged and of wrong class.
        np_prob: Perfect NP map of the ground truth, blurred and with noise.
        hv: Horizontal and vertical map, likewise.
        stacked: The same three maps in HoVer-Net's layout.
    """

    true: Nuclei
    predicted: Nuclei
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]
    stacked: Float32[np.ndarray, "h w 3"]


def synthetic_cases(n_nuclei: int, count: int, rng: np.random.Generator) -> list[Case]:
    """Synthetic tiles with exactly `n_nuclei` nuclei each."""
    return [_case(synthetic_nuclei(n_nuclei, rng), rng) for _ in range(count)]


def stored_cases(paths: Sequence[Path], n_nuclei: int, count: int, rng: np.random.Generator) -> list[Case]:
    """The `count` tiles of the stores whose numbers of nuclei are nearest to `n_nuclei`.

    Raises:
        MissingInputError: The stores hold fewer tiles with nuclei.
    """
    counts = [(n, path, row) for path in paths for row, n in _counts(path) if n]
    if len(counts) < count:
        raise MissingInputError(
            f"{count} tiles with nuclei are needed, the stores hold {len(counts)}. Fix: give more --tiles."
        )
    nearest = sorted(counts, key=lambda entry: abs(entry[0] - n_nuclei))[:count]
    return [_case(_read(path, row), rng) for _, path, row in nearest]


def synthetic_nuclei(n_nuclei: int, rng: np.random.Generator) -> Nuclei:
    """Ellipses that touch but hardly overlap."""
    share, at, power = COVERAGE
    area_px = CLIPPED * share * (n_nuclei / at) ** power * TILE_PX**2 / n_nuclei
    instances = np.zeros((TILE_PX, TILE_PX), np.int32)
    for label in range(1, n_nuclei + 1):
        instances[_free_ellipse(instances, area_px, rng)] = label
    class_of = rng.choice(np.array(NUCLEUS_CLASSES, np.uint8), n_nuclei, p=SHARE)
    return _nuclei(instances, np.concatenate([[0], class_of]).astype(np.uint8)[instances])


def _counts(path: Path) -> Iterator[tuple[int, int]]:
    with open_tiles(path) as store:
        for rows in store.blocks(64):
            yield from zip(rows.tolist(), store.read("instances", rows).max(axis=(1, 2)).tolist(), strict=True)


def _read(path: Path, row: int) -> Nuclei:
    with open_tiles(path) as store:
        rows = np.array([row])
        return _nuclei(store.read("instances", rows)[0], store.read("classes", rows)[0])


def _free_ellipse(
    instances: Int32[np.ndarray, "h w"], area_px: float, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Rows and columns of an ellipse of about that area, of which at least nine tenths are free."""
    for _ in range(TRIES):
        radius_px = (area_px / np.pi) ** 0.5 * np.exp(rng.normal(0, 0.15))
        longer = rng.uniform(1, 1.7) ** 0.5
        row, column = rng.uniform(0, TILE_PX, 2)
        axes = (radius_px * longer, radius_px / longer)
        rows, columns = ellipse(row, column, *axes, shape=instances.shape, rotation=rng.uniform(-np.pi, np.pi))
        free = instances[rows, columns] == 0
        if np.count_nonzero(free) >= max(LEAST_PX, 0.9 * len(rows)):
            return rows[free], columns[free]
    raise ContractError(
        f"a synthetic tile has no room for more than {instances.max()} nuclei. Fix: ask for fewer with --nuclei."
    )


def _case(true: Nuclei, rng: np.random.Generator) -> Case:
    perfect = perfect_maps(true.instances)
    np_prob = np.clip(_degraded(perfect.np_prob, rng), 0, 1)
    hv = np.stack([_degraded(plane, rng) for plane in perfect.hv])
    return Case(true, _predicted(true, rng), np_prob, hv, np.stack([np_prob, *hv], axis=-1))


def _degraded(plane: Float32[np.ndarray, "h w"], rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """A map with the soft edges and the smooth noise of a network's output."""
    noise = ndimage.gaussian_filter(rng.standard_normal(plane.shape, np.float32), 2)
    return np.asarray(ndimage.gaussian_filter(plane, BLUR_PX) + np.float32(NOISE) * noise / noise.std())


def _predicted(true: Nuclei, rng: np.random.Generator) -> Nuclei:
    shifted = np.zeros_like(true.instances)
    shifted[SHIFT_PX:, SHIFT_PX:] = true.instances[:-SHIFT_PX, :-SHIFT_PX]
    n_nuclei = len(true.class_of)
    n_errors = max(1, n_nuclei // ERROR_EVERY)
    missed, merged, misclassified = np.split(rng.permutation(n_nuclei)[: 3 * n_errors] + 1, [n_errors, 2 * n_errors])

    label_of = np.arange(n_nuclei + 1, dtype=np.int32)
    label_of[merged] = _nearest_neighbour(true)[merged - 1]
    label_of[missed] = 0
    classes = np.concatenate([[0], true.class_of]).astype(np.uint8)
    classes[misclassified] = rng.choice(np.array(NUCLEUS_CLASSES, np.uint8), len(misclassified))
    instances = label_of[shifted]
    return _nuclei(relabel(instances), classes[instances])


def _nearest_neighbour(true: Nuclei) -> Int64[np.ndarray, " n"]:
    """Label of the nucleus nearest to each."""
    distance_px = cdist(true.at, true.at)
    np.fill_diagonal(distance_px, np.inf)
    return np.asarray(distance_px.argmin(axis=1) + 1)


def _nuclei(instances: Int32[np.ndarray, "h w"], classes: UInt8[np.ndarray, "h w"]) -> Nuclei:
    masks = np.stack([np.where(classes == k, instances, 0.0) for k in NUCLEUS_CLASSES], axis=-1)
    scores = tile_scores(instances, classes, instances, classes)
    return Nuclei(instances, classes, scores.true_class_of, scores.centroids[0], masks)
