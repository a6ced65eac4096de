"""A small run up to the decoders: folds, features and families on disk."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cellvit.config.steps import GatherFamilySettings
from cellvit.contracts.provenance import Provenance
from cellvit.contracts.records import FeatureBatch, TileBatch
from cellvit.contracts.stores import FEATURES, TILES
from cellvit.io.features import append_features
from cellvit.io.hdf5 import writing
from cellvit.io.tiles import append_tiles, open_tiles
from cellvit.stages import gather_family

GRID, DIM = 16, 8


@dataclass(frozen=True)
class Run:
    """Files of a run.

    Attributes:
        families: Organs by family.
        folds: Numbers of the folds.
    """

    root: Path
    families: dict[str, tuple[str, ...]]
    folds: tuple[int, ...]

    def tiles(self, fold: int) -> Path:
        return self.root / f"tiles/fold{fold}.h5"

    def features(self, fold: int) -> Path:
        return self.root / f"features/fold{fold}.h5"

    def targets_of(self, family: str) -> Path:
        return self.root / f"families/{family}/targets.h5"

    def features_of(self, family: str) -> Path:
        return self.root / f"families/{family}/features.h5"


def tile_batch(fold: int, organs: Sequence[str]) -> TileBatch:
    """Tiles of three nuclei of two classes, one of them moved from tile to tile; the last tile is empty."""
    n = len(organs)
    rows, columns = np.ogrid[:256, :256]
    instances = np.zeros((n, 256, 256), np.int32)
    classes = np.zeros((n, 256, 256), np.uint8)
    for tile in range(n - 1):
        discs = ((60, 60 + 3 * tile, 22, 1), (60, 106 + 3 * tile, 22, 1), (180, 150, 18, 3))
        for label, (row, column, radius, nucleus_class) in enumerate(discs, 1):
            inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
            instances[tile][inside], classes[tile][inside] = label, nucleus_class
    image = np.where(instances[..., None] > 0, np.uint8([90, 50, 140]), np.uint8([240, 210, 225]))
    image = (image + np.random.default_rng(fold).integers(-5, 6, image.shape)).astype(np.uint8)
    return TileBatch(image, instances, classes, tuple(organs), tuple(f"f{fold}-{row:05d}" for row in range(n)))


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Run]:
    """Write folds with the given organs, tile by tile, and gather the families."""

    def write(organs_by_fold: dict[int, Sequence[str]], families: dict[str, tuple[str, ...]]) -> Run:
        run = Run(tmp_path, families, tuple(organs_by_fold))
        for fold, organs in organs_by_fold.items():
            _write_fold(run, fold, organs)
        for family, organs in families.items():
            gather_family.run(
                argparse.Namespace(
                    settings=GatherFamilySettings(organs=organs),
                    family=family,
                    folds=list(run.folds),
                    fold_tiles=[run.tiles(fold) for fold in run.folds],
                    fold_features=[run.features(fold) for fold in run.folds],
                    features=run.features_of(family),
                    targets=run.targets_of(family),
                )
            )
        return run

    return write


def _write_fold(run: Run, fold: int, organs: Sequence[str]) -> None:
    n, rng = len(organs), np.random.default_rng(fold)
    with writing(run.tiles(fold), TILES, n, {}, Provenance(simulated=True)) as writer:
        append_tiles(writer, tile_batch(fold, organs))
    with open_tiles(run.tiles(fold)) as store:
        origin = Provenance(made_from={"tiles": store.content_sha256}, simulated=True, untrained_encoder=True)
    batch = FeatureBatch(
        cls=rng.normal(size=(n, 1, DIM)).astype(np.float32),
        tokens=rng.normal(size=(n, 1, 1, GRID, GRID, DIM)).astype(np.float16),
    )
    sizes = {"views": 1, "taps": 1, "g": GRID, "dim": DIM}
    with writing(run.features(fold), FEATURES, n, sizes, origin) as writer:
        append_features(writer, batch)
