"""A small run up to the decoders: folds, features and families on disk."""

import argparse
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvit.__main__ import main
from cellvit.config.evaluation import WatershedSettings
from cellvit.config.steps import GatherFamiliesSettings, TuneWatershedSettings
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.formats.features import FEATURES, FeatureBatch, append_features
from cellvit.formats.hdf5 import writing
from cellvit.formats.provenance import Provenance
from cellvit.formats.tile_table import TileScores, read_tile_scores
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles
from cellvit.formats.watershed import WatershedChoice
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.models.organ_head import OrganHead
from cellvit.stages import gather_family
from cellvit.taxonomy import ORGANS

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


@pytest.fixture(scope="session")
def copy_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Run], Run]:
    """A copy of a run that a test may change."""

    def copy(run: Run) -> Run:
        root = tmp_path_factory.mktemp("copy") / "run"
        shutil.copytree(run.root, root)
        return dataclasses.replace(run, root=root)

    return copy


@pytest.fixture(scope="session")
def write_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Write folds with the given organs, tile by tile, and gather the families.

    `write_tiles` makes the tile store of a fold; where it is left out, the store holds what `tile_batch` draws.
    """

    def write(
        organs_by_fold: dict[int, Sequence[str]],
        families: dict[str, tuple[str, ...]],
        *,
        write_tiles: Callable[[Path, int, Sequence[str]], object] = _write_tiles,
    ) -> Run:
        run = Run(tmp_path_factory.mktemp("run"), families, tuple(organs_by_fold))
        for fold, organs in organs_by_fold.items():
            write_tiles(run.tiles(fold), fold, organs)
            _write_features(run, fold, len(organs))
        for family, organs in families.items():
            gather_family.run(
                argparse.Namespace(
                    settings=GatherFamiliesSettings(organs=organs),
                    family=family,
                    folds=list(run.folds),
                    fold_tiles=[run.tiles(fold) for fold in run.folds],
                    fold_features=[run.features(fold) for fold in run.folds],
                    features=run.features_of(family),
                    targets=run.targets_of(family),
                    seals=[],
                )
            )
        return run

    return write


def _write_tiles(path: Path, fold: int, organs: Sequence[str]) -> None:
    with writing(path, TILES, len(organs), {}, Provenance(simulated=True)) as writer:
        append_tiles(writer, tile_batch(fold, organs))


def _write_features(run: Run, fold: int, n: int) -> None:
    rng = np.random.default_rng(fold)
    with open_tiles(run.tiles(fold)) as store:
        origin = Provenance(made_from={"tiles": store.content_sha256}, simulated=True, untrained_encoder=True)
    batch = FeatureBatch(
        cls=rng.normal(size=(n, 1, DIM)).astype(np.float32),
        tokens=rng.normal(size=(n, 1, 1, GRID, GRID, DIM)).astype(np.float16),
    )
    sizes = {"views": 1, "taps": 1, "g": GRID, "dim": DIM}
    with writing(run.features(fold), FEATURES, n, sizes, origin) as writer:
        append_features(writer, batch)


@pytest.fixture(scope="session")
def write_decoder() -> Callable[..., Path]:
    """Write a tiny decoder with random weights, or one that says that it could not be trained."""

    def write(
        path: Path, family: str, *, split: str = "1", status: str = "trained", folds=(1, 2), seed: int = 0, tables=None
    ) -> Path:
        architecture = {
            "dim": DIM,
            "grid": GRID,
            "widths": [8, 8, 8, 8, 8],
            "image_stem": "rgb",
            "stem_widths": [8, 8],
        }
        torch.manual_seed(seed)
        decoder = HoVerNetDecoder(**architecture)
        header = CheckpointHeader(
            provenance=Provenance(simulated=True, untrained_encoder=True),
            kind="hovernet",
            split=split,
            family=family,
            status=status,
            reason="" if status == "trained" else f"family {family} has no tiles in training folds 1",
            architecture=architecture,
            encoder={"taps": [0]},
            mpp=0.25,
            folds={"train": folds[:1], "validate": folds[1:]},
            tables=tables or {},
        )
        write_checkpoint(path, header, decoder.state_dict() if status == "trained" else {})
        return path

    return write


@pytest.fixture(scope="session")
def write_organ_head() -> Callable[..., Path]:
    """Write an OrganHead that can answer with the given organs alone, or one that could not be trained."""

    def write(path: Path, *organs: str, status: str = "trained") -> Path:
        architecture = {"dim": DIM, "hidden": 4, "organs": len(ORGANS), "dropout": 0.0}
        torch.manual_seed(0)
        head = OrganHead(**architecture)
        if organs:
            head.set_trained(torch.tensor([organ in organs for organ in ORGANS]))
        header = CheckpointHeader(
            provenance=Provenance(simulated=True),
            kind="organ_head",
            split="1",
            status=status,
            reason="" if status == "trained" else "no training tiles",
            architecture=architecture,
            organs=ORGANS,
            mpp=0.25,
            folds={"train": (1,), "validate": (2,)},
        )
        write_checkpoint(path, header, head.state_dict() if status == "trained" else {})
        return path

    return write


@pytest.fixture(scope="session")
def tune() -> Callable[..., WatershedChoice]:
    """Run tune_watershed on a family of a run; returns what it wrote."""

    def call(run: Run, family: str, *options: str, settings: WatershedSettings | None = None) -> WatershedChoice:
        watershed = settings or WatershedSettings(np_threshold=(0.5,), hv_threshold=(0.4,), min_object_px=(10,))
        out = run.root / f"watershed/{family}.json"
        arguments = {
            "--settings": TuneWatershedSettings(watershed=watershed, seed=0).model_dump_json(),
            "--split": "1",
            "--family": family,
            "--validate-folds": "2",
            "--checkpoint": str(run.root / f"checkpoints/{family}.safetensors"),
            "--features": str(run.features_of(family)),
            "--targets": str(run.targets_of(family)),
            "--out": str(out),
        }
        given = [part for pair in arguments.items() for part in pair]
        assert main(["tune_watershed", *given, "--device", "cpu", *options]) == 0
        return read_document(out, WatershedChoice)

    return call


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., tuple[FamilyEvaluation, dict[str, TileScores]]]:
    """Run evaluate_family on a family of a run; returns what it wrote."""

    def call(run: Run, family: str, *options: str) -> tuple[FamilyEvaluation, dict[str, TileScores]]:
        out, tiles = run.root / f"evaluation/{family}.json", run.root / f"evaluation/{family}_tiles.csv"
        arguments = {
            "--settings": '{"seed": 0}',
            "--split": "1",
            "--family": family,
            "--train-folds": "1",
            "--test-folds": "3",
            "--features": str(run.features_of(family)),
            "--targets": str(run.targets_of(family)),
            "--checkpoint": str(run.root / f"checkpoints/{family}.safetensors"),
            "--watershed": str(run.root / f"watershed/{family}.json"),
            "--out": str(out),
            "--tiles-csv": str(tiles),
        }
        given = [part for pair in arguments.items() for part in pair]
        assert main(["evaluate_family", *given, "--device", "cpu", *options]) == 0
        return read_document(out, FamilyEvaluation), read_tile_scores(tiles, COLUMNS)

    return call
