"""Tiles with a few round nuclei, and scores written by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cellvit.evaluation.scoring import COLUMNS, score_columns
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import TileBatch

Disc = tuple[int, int, int, int]
"""Row, column, radius and class."""


def paint(discs: Sequence[Disc]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.ogrid[:256, :256]
    instances, classes = np.zeros((256, 256), np.int32), np.zeros((256, 256), np.uint8)
    for label, (row, column, radius, nucleus_class) in enumerate(discs, 1):
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        instances[inside], classes[inside] = label, nucleus_class
    return instances, classes


@pytest.fixture
def disc_tiles() -> Callable[..., TileBatch]:
    """Tiles from lists of discs; dark purple nuclei on pale pink."""

    def make(
        tiles: Sequence[Sequence[Disc]], organs: Sequence[str] | None = None, patients: Sequence[str] = ()
    ) -> TileBatch:
        painted = [paint(discs) for discs in tiles]
        instances = np.stack([instances for instances, _ in painted])
        image = np.where(instances[..., None] > 0, np.uint8([90, 50, 140]), np.uint8([240, 210, 225]))
        noise = np.random.default_rng(0).integers(-5, 6, image.shape)
        return TileBatch(
            image=(image + noise).clip(0, 255).astype(np.uint8),
            instances=instances,
            classes=np.stack([classes for _, classes in painted]),
            organ=tuple(organs or ["Colon"] * len(tiles)),
            tile_id=tuple(f"f3-{row:05d}" for row in range(len(tiles))),
            patient=tuple(patients),
        )

    return make


@pytest.fixture
def scored() -> Callable[..., TileScores]:
    """Scored tiles: the columns that are given, all other scores undefined, all counts 0."""

    def make(
        organs: Sequence[str],
        *,
        patients: Sequence[str] = (),
        sources: Sequence[str] = (),
        **columns: Sequence[float],
    ) -> TileScores:
        n = len(organs)
        values = np.zeros((n, len(COLUMNS)))
        values[:, [COLUMNS.index(name) for name in score_columns(PANNUKE.class_keys)[2:]]] = (
            np.nan
        )  # the first two are counts of nuclei
        for name, column in columns.items():
            values[:, COLUMNS.index(name)] = column
        ids = [f"f3-{row:05d}" for row in range(n)]
        patients = tuple(patients) or ("",) * n
        names = {"patient": patients, "source": tuple(sources) or ("",) * n, "origin": ("",) * n}
        texts = {"tile_id": ids, "organ": organs, **names, "family": ["digestive"] * n}
        return TileScores.of(texts, COLUMNS, values)

    return make
