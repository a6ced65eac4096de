from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

REAL_TILES = Path(__file__).parents[3] / "shared" / "real_tiles"


@pytest.fixture
def discs() -> Callable[..., np.ndarray]:
    """Draws discs at (row, column), numbered from 1, earlier ones over later ones."""

    def draw(*centres: tuple[int, int], radius_px: int = 9, size_px: int = 64) -> np.ndarray:
        row, column = np.mgrid[:size_px, :size_px]
        instances = np.zeros((size_px, size_px), np.int32)
        for label, (y, x) in reversed(list(enumerate(centres, start=1))):
            instances[(row - y) ** 2 + (column - x) ** 2 <= radius_px**2] = label
        return instances

    return draw


@pytest.fixture
def intersections() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Counts the pixels of every pair of labels, background first."""

    def count(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
        table = np.zeros((truth.max() + 1, found.max() + 1))
        np.add.at(table, (truth.ravel(), found.ravel()), 1)
        return table

    return count


@pytest.fixture
def aji(intersections: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], float]:
    """Aggregated Jaccard index of Kumar et al. 2017, for truths that are not empty."""

    def score(truth: np.ndarray, found: np.ndarray) -> float:
        pairs = intersections(truth, found)
        truth_px, found_px, shared = pairs.sum(1)[1:, None], pairs.sum(0)[None, 1:], pairs[1:, 1:]
        union = truth_px + found_px - shared
        if not shared.shape[1]:
            return 0.0
        best = np.argmax(shared / union, axis=1)
        rows = np.flatnonzero(shared.max(axis=1) > 0)
        unused = np.setdiff1d(np.arange(shared.shape[1]), best[rows])
        missed_px = truth_px.sum() - truth_px[rows].sum()
        total = union[rows, best[rows]].sum() + missed_px + found_px[0, unused].sum()
        return float(shared[rows, best[rows]].sum() / total)

    return score


@pytest.fixture(scope="session")
def colon_tiles() -> list[tuple[np.ndarray, np.ndarray]]:
    """Image and instances of 36 CoNSeP colon tiles, spread over the set."""
    if not REAL_TILES.is_dir():
        pytest.skip(f"no real tiles at {REAL_TILES.name}: they are for development and not in the repository")
    names = sorted(path.stem for path in (REAL_TILES / "instances").glob("consep_*.png"))
    return [
        (
            cv2.cvtColor(cv2.imread(str(REAL_TILES / "images" / f"{name}.jpg")), cv2.COLOR_BGR2RGB),
            cv2.imread(str(REAL_TILES / "instances" / f"{name}.png"), cv2.IMREAD_UNCHANGED),
        )
        for name in names[:: len(names) // 36][:36]
    ]
