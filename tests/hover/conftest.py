from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellvit.hover.upper_bound import PerfectMaps, perfect_maps

Discs = Callable[..., np.ndarray]

REAL_TILES = Path(__file__).parents[3] / "shared" / "real_tiles"


@pytest.fixture
def discs() -> Discs:
    """Draw discs at (row, column), numbered from 1, earlier ones over later ones."""

    def draw(*centres: tuple[int, int], radius_px: int = 9, size_px: int = 64) -> np.ndarray:
        row, column = np.mgrid[:size_px, :size_px]
        instances = np.zeros((size_px, size_px), np.int32)
        for label, (y, x) in reversed(list(enumerate(centres, start=1))):
            instances[(row - y) ** 2 + (column - x) ** 2 <= radius_px**2] = label
        return instances

    return draw


@pytest.fixture
def pair(discs: Discs) -> PerfectMaps:
    """Perfect maps of two discs that touch."""
    return perfect_maps(discs((32, 22), (32, 40)))


@pytest.fixture(scope="session")
def colon_tiles() -> list[tuple[np.ndarray, np.ndarray]]:
    """Image and instances of the tiles with nuclei among 36 CoNSeP colon tiles."""
    names = sorted(path.stem for path in (REAL_TILES / "instances").glob("consep_*.png"))
    tiles = [
        (
            cv2.cvtColor(cv2.imread(str(REAL_TILES / "images" / f"{name}.jpg")), cv2.COLOR_BGR2RGB),
            cv2.imread(str(REAL_TILES / "instances" / f"{name}.png"), cv2.IMREAD_UNCHANGED),
        )
        for name in names[:: len(names) // 36][:36]
    ]
    return [(image, truth) for image, truth in tiles if truth.any()]
