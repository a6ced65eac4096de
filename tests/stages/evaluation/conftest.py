"""A small run up to the decoders: folds, features, families and random models on disk, and the steps that follow."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from cellvit.config.evaluation import RoutingSettings, WatershedSettings
from cellvit.config.steps import EvaluateRoutedSettings, EvaluateSettings, TuneWatershedSettings
from cellvit.formats.checkpoints import CheckpointHeader, write_checkpoint
from cellvit.formats.content import provenance_of
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.family import open_family, write_members
from cellvit.formats.features import FEATURES, FeatureBatch, append_features
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles
from cellvit.formats.watershed import WatershedChoice
from cellvit.formats.writing import writing
from cellvit.inference.map_stores import store_maps
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.models.organ_head import OrganHead
from cellvit.stages import average_maps, evaluate_family, evaluate_organ_head, evaluate_routed, tune_watershed
from cellvit.taxonomy import ORGANS

GRID, DIM = 16, 8
MARKED = Provenance(data_set=PANNUKE, simulated=True, encoder_mark="untrained encoder")
ONE_POINT = WatershedSettings(method=("hovernet",), np_threshold=(0.5,), hv_threshold=(0.4,), min_object_px=(10,))


@dataclass(frozen=True)
class Run:
    """Files of a run; fold 1 trains, fold 2 validates, fold 3 tests.

    Attributes:
        families: Organs by family; that of the shared decoder, if there is one, is called all and comes last.
    """

    root: Path
    families: dict[str, tuple[str, ...]]

    def tiles(self, *folds: int) -> tuple[Path, ...]:
        return tuple(self.root / f"tiles/fold{fold}.h5" for fold in folds)

    def features(self, *folds: int) -> tuple[Path, ...]:
        return tuple(self.root / f"features/fold{fold}.h5" for fold in folds)

    def stores(self, *folds: int) -> dict[str, tuple[Path, ...]]:
        return {"tiles": self.tiles(*folds), "features": self.features(*folds)}

    def members(self, family: str, *folds: int) -> tuple[Path, ...]:
        return tuple(self.root / f"families/{family}/fold{fold}.h5" for fold in folds)

    def checkpoint(self, family: str) -> Path:
        return self.root / f"checkpoints/{family}.safetensors"

    def watershed(self, family: str) -> Path:
        return self.root / f"watershed/{family}.json"

    def evaluated(self, name: str) -> Path:
        return self.root / f"evaluation/{name}"

    def averaged_maps(self, family: str) -> Path:
        """Maps of the validation tiles, averaged over the stored views."""
        arguments = average_maps.Arguments(
            split="1",
            family=family,
            checkpoint=self.checkpoint(family),
            members=self.members(family, 2),
            **self.stores(2),
            maps=self.root / f"maps/averaged/{family}.h5",
            device="cpu",
        )
        average_maps.run(arguments)
        return arguments.maps

    def maps(self, family: str) -> Path:
        """Maps of the validation tiles, as train_hovernet writes them."""
        path = self.root / f"maps/{family}.h5"
        with open_family(self.members(family, 2), self.tiles(2), self.features(2)) as data:
            store_maps(path, self.checkpoint(family), data, np.arange(len(data.tiles)), device=torch.device("cpu"))
        return path

    def tune(self, family: str, settings: WatershedSettings = ONE_POINT, *, threads: int = 1) -> WatershedChoice:
        arguments = tune_watershed.Arguments(
            settings=TuneWatershedSettings(watershed=settings),
            split="1",
            family=family,
            checkpoint=self.checkpoint(family),
            maps=(self.averaged_maps(family) if settings.average_views else self.maps(family),),
            members=self.members(family, 2),
            tiles=self.tiles(2),
            watershed=self.watershed(family),
            threads=threads,
        )
        tune_watershed.run(arguments)
        return read_document(arguments.watershed, WatershedChoice)

    def evaluate(self, family: str, *, shared: bool = False) -> FamilyEvaluation:
        arguments = evaluate_family.Arguments(
            settings=EvaluateSettings(),
            split="1",
            family=family,
            train_folds=(1,),
            test_folds=(3,),
            members=self.members(family, 1, 3),
            **self.stores(1, 3),
            checkpoint=self.checkpoint(family),
            watershed=self.watershed(family),
            shared_checkpoint=self.checkpoint("all") if shared else None,
            shared_watershed=self.watershed("all") if shared else None,
            evaluation=self.evaluated(f"{family}.json"),
            table=self.evaluated(f"{family}_tiles.csv"),
            gallery=self.evaluated(f"{family}_gallery.json"),
            device="cpu",
        )
        evaluate_family.run(arguments)
        return read_document(arguments.evaluation, FamilyEvaluation)

    def evaluate_organ_head(self) -> OrganHeadEvaluation:
        arguments = evaluate_organ_head.Arguments(
            settings=EvaluateSettings(),
            split="1",
            test_folds=(3,),
            organ_head=self.checkpoint("organ_head"),
            **self.stores(3),
            evaluation=self.evaluated("organ_head.json"),
            device="cpu",
        )
        evaluate_organ_head.run(arguments)
        return read_document(arguments.evaluation, OrganHeadEvaluation)

    def route(self, routing: RoutingSettings | None = None, **changes: Any) -> RoutedEvaluation:
        own = {name: organs for name, organs in self.families.items() if name != "all"}
        arguments = evaluate_routed.Arguments(
            settings=EvaluateRoutedSettings(families=own, routing=routing or RoutingSettings()),
            split="1",
            test_folds=(3,),
            **self.stores(3),
            organ_head=self.checkpoint("organ_head"),
            checkpoints=tuple(map(self.checkpoint, self.families)),
            watersheds=tuple(map(self.watershed, self.families)),
            evaluations=tuple(self.evaluated(f"{family}.json") for family in self.families),
            tables=tuple(self.evaluated(f"{family}_tiles.csv") for family in self.families),
            evaluation=self.evaluated("routed.json"),
            table=self.evaluated("routed_tiles.csv"),
            device="cpu",
        )
        evaluate_routed.run(dataclasses.replace(arguments, **changes))
        return read_document(arguments.evaluation, RoutedEvaluation)

    def write_decoder(self, family: str, **changes: Any) -> None:
        """Write a tiny decoder with random weights, or one that could not be trained; `changes` are of its header."""
        architecture = {"dim": DIM, "widths": [8] * 5, "image_stem": "rgb", "stem_widths": [8, 8]}
        torch.manual_seed(changes.pop("seed", 0))
        decoder = HoVerNetDecoder(**architecture)
        header = {"kind": "hovernet", "family": family, "encoder": {"blocks": [0]}, "architecture": architecture}
        self._write(self.checkpoint(changes.pop("file", family)), decoder, header | changes)

    def write_organ_head(self, *organs: str, **changes: Any) -> None:
        """Write an OrganHead that can predict the given organs alone, or one that could not be trained."""
        architecture = {"dim": DIM, "hidden": 4, "organs": len(ORGANS), "dropout": 0.0}
        torch.manual_seed(0)
        head = OrganHead(**architecture)
        if organs:
            head.set_trained(torch.tensor([organ in organs for organ in ORGANS]))
        header = {"kind": "organ_head", "architecture": architecture, "organs": ORGANS, "trained_organs": organs}
        self._write(self.checkpoint("organ_head"), head, header | changes)

    def _write(self, path: Path, module: torch.nn.Module, fields: dict[str, Any]) -> None:
        absent = fields.get("status") == "absent"
        default = {
            "provenance": MARKED,
            "split": "1",
            "status": "trained",
            "reason": "no tiles in training folds [1]" if absent else "",
            "mpp": 0.25,
            "folds": {"train": (1,), "validate": (2,)},
        }
        weights = {} if absent else {name: values.numpy() for name, values in module.state_dict().items()}
        write_checkpoint(path, CheckpointHeader(**default | fields), weights)


def tile_batch(fold: int, organs: Sequence[str], patients: Sequence[str], sources: Sequence[str]) -> TileBatch:
    """Tiles of three nuclei of two classes, shifted from tile to tile; the last tile is empty."""
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
    tile_id = tuple(f"f{fold}-{row:05d}" for row in range(n))
    return TileBatch(image, instances, classes, tuple(organs), tile_id, tuple(patients), tuple(sources))


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
    """Write folds of tiles with the given organs, patients and sources, and list the members of the families.

    Args:
        extracted: Settings of the extraction, which name the views; without them, features are of one view.
        change: Changes the tiles of every fold before they are written.
    """

    def write(
        organs_by_fold: dict[int, Sequence[str]],
        families: dict[str, tuple[str, ...]],
        patients: Mapping[int, Sequence[str]] = MappingProxyType({}),
        sources: Mapping[int, Sequence[str]] = MappingProxyType({}),
        *,
        extracted: Mapping[str, Any] = MappingProxyType({}),
        change: Callable[[TileBatch], TileBatch] = lambda batch: batch,
    ) -> Run:
        run = Run(tmp_path_factory.mktemp("run"), families)
        for fold, organs in organs_by_fold.items():
            (tiles,), (features,) = run.tiles(fold), run.features(fold)
            with writing(tiles, TILES, len(organs), {}, Provenance(data_set=PANNUKE, simulated=True)) as writer:
                append_tiles(writer, change(tile_batch(fold, organs, patients.get(fold, ()), sources.get(fold, ()))))
            _write_features(tiles, features, fold, len(organs), extracted)
            for family, of_family in families.items():
                (members,) = run.members(family, fold)
                write_members(members, fold=fold, organs=of_family, tiles=tiles, features=features)
        return run

    return write


def _write_features(tiles: Path, features: Path, fold: int, n: int, extracted: Mapping[str, Any]) -> None:
    rng, views = np.random.default_rng(fold), len(extracted["features"]["views"]) if extracted else 1
    batch = FeatureBatch(
        cls=rng.normal(size=(n, views, DIM)).astype(np.float32),
        tokens=rng.normal(size=(n, views, 1, GRID, GRID, DIM)).astype(np.float16),
    )
    origin = provenance_of(features, [tiles], extracted).model_copy(update={"encoder_mark": "untrained encoder"})
    with writing(features, FEATURES, n, {"views": views, "blocks": 1, "g": GRID, "dim": DIM}, origin) as writer:
        append_features(writer, batch)
