"""A small run up to the trainings: folds, features and families on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cellvit.formats.dataset import PANNUKE
from cellvit.formats.family import write_members
from cellvit.formats.features import FEATURES
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import open_tiles
from cellvit.formats.writing import writing
from cellvit.taxonomy import ORGANS

GRID, DIM = 16, 8

NO_NAMES: Mapping[int, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True)
class SmallRun:
    """Files of a run; tokens are noise, CLS tokens lie around a centre of their organ."""

    root: Path
    folds: tuple[int, ...]

    def tiles(self, fold: int) -> Path:
        return self.root / f"tiles/fold{fold}.h5"

    def features(self, fold: int) -> Path:
        return self.root / f"features/fold{fold}.h5"

    def members(self, family: str, fold: int) -> Path:
        return self.root / f"families/{family}/fold{fold}.h5"

    def gather(self, family: str, organs: Sequence[str]) -> None:
        """List the members of a family in every fold."""
        for fold in self.folds:
            tiles, features = self.tiles(fold), self.features(fold)
            write_members(self.members(family, fold), fold=fold, organs=organs, tiles=tiles, features=features)


@pytest.fixture
def write_small_run(
    tmp_path: Path, write_tile_store: Callable[..., Path]
) -> Callable[[dict[int, list[str]]], SmallRun]:
    """Write tiles and features of folds, given the organ (and where wanted the patient and the source) of each tile."""
    centres = dict(zip(ORGANS, np.random.default_rng(9).normal(size=(len(ORGANS), DIM)), strict=True))

    def write(
        organs_by_fold: dict[int, list[str]],
        patients: Mapping[int, Sequence[str]] = NO_NAMES,
        sources: Mapping[int, Sequence[str]] = NO_NAMES,
    ) -> SmallRun:
        run = SmallRun(tmp_path, tuple(organs_by_fold))
        for fold, organs in organs_by_fold.items():
            names = {"patients": patients.get(fold, ()), "sources": sources.get(fold, ())}
            write_tile_store(run.tiles(fold), fold, organs, simulated=True, **names)
            with open_tiles(run.tiles(fold)) as store:
                origin = Provenance(
                    data_set=PANNUKE,
                    made_from={"tiles": store.digest},
                    settings=ENCODER,
                    simulated=True,
                    encoder_mark="untrained encoder",
                )
            rng, n = np.random.default_rng(fold), len(organs)
            cls = np.array([centres[organ] for organ in organs]).reshape(n, 1, DIM) + 0.1 * rng.normal(size=(n, 1, DIM))
            with writing(
                run.features(fold), FEATURES, n, {"views": 1, "blocks": 1, "g": GRID, "dim": DIM}, origin
            ) as out:
                tokens = rng.normal(size=(n, 1, 1, GRID, GRID, DIM))
                out.append(cls=cls.astype(np.float32), tokens=tokens.astype(np.float16))
        return run

    return write


ENCODER = {
    "encoder": {"preset": "tiny-vit", "weights": "random", "seed": 0, "custom": None},
    "features": {"input_px": 224, "blocks": None, "precision": "auto", "batch_size": 32, "views": ["identity"]},
}
"""Settings that `extract_features` writes; tiny-vit has four blocks, of which the last is kept."""
