"""Every step from tiles to report on data sets with other classes, other organs, or no organs."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from other_data import ONE_CLASS, ONE_ORGAN, THREE_CLASSES, write_simulated_tiles

from cellvit.config.evaluation import IntegrityGates, QualityGates, RoutingSettings, WatershedSettings
from cellvit.config.settings import Settings, load_settings
from cellvit.config.steps import (
    BuildReportSettings,
    EvaluateRoutedSettings,
    EvaluateSettings,
    GatherFamiliesSettings,
    SummarizeSettings,
    TrainHovernetSettings,
    TrainOrganHeadSettings,
    TuneWatershedSettings,
)
from cellvit.errors import StaleFileError
from cellvit.evaluation.scoring import columns_of
from cellvit.formats.checkpoints import read_checkpoint, read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.dataset import DataSet
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation
from cellvit.formats.family import open_family
from cellvit.formats.features import FEATURES, FeatureBatch, FeatureCheck, append_features
from cellvit.formats.tile_table import read_tile_scores
from cellvit.formats.tiles import open_tiles
from cellvit.formats.writing import writing
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.stages import (
    build_report,
    check_targets,
    evaluate_family,
    evaluate_organ_head,
    evaluate_routed,
    gather_families,
    summarize,
    train_hovernet,
    train_organ_head,
    tune_watershed,
)
from cellvit.workflow.data_set import settings_for

GRID, DIM, FOLDS = 16, 8, (1, 2, 3)
TRAINING = {"steps": 2, "record_every": 1, "validate_every": 1, "batch_size": 2}
DECODER = {"widths": [8] * 5, "stem_widths": [4, 6]}
ONE_POINT = WatershedSettings(method=("hovernet",), np_threshold=(0.5,), hv_threshold=(0.4,), min_object_px=(10,))


@dataclass
class Run:
    """A run of one split: fold 1 trains, fold 2 validates, fold 3 tests."""

    root: Path
    data_set: DataSet
    organs: Sequence[str]
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        families = {"first": [self.organs[0]], "second": [self.organs[1]]} if len(set(self.organs)) > 1 else None
        splits = {"1": {"train": 1, "validate": 2, "test": 3}}
        raw = {"families": families, "splits": splits, "data": {"mpp": self.data_set.mpp}, "results": "r"}
        encoder = {"encoder": {"preset": "tiny-vit", "weights": "random"}}
        self.settings = settings_for(load_settings({**raw, **encoder}), self.data_set)

    def paths(self, kind: str, suffix: str = ".h5") -> tuple[Path, ...]:
        return tuple(self.root / kind / f"fold{fold}{suffix}" for fold in FOLDS)

    def of(self, folds: Sequence[int], family: str) -> dict[str, tuple[Path, ...]]:
        kinds = {"members": f"families/{family}", "tiles": "tiles", "features": "features"}
        return {name: tuple(self.paths(kind)[fold - 1] for fold in folds) for name, kind in kinds.items()}

    def out(self, name: str) -> Path:
        return self.root / "out" / name

    def prepared(self) -> None:
        every = zip(FOLDS, self.paths("tiles"), self.paths("tiles", ".json"), self.paths("features"), strict=True)
        for fold, tiles, summary, features in every:
            write_simulated_tiles(tiles, summary, fold, self.data_set, self.organs)
            rng, n = np.random.default_rng(fold), len(self.organs)
            with writing(
                features,
                FEATURES,
                n,
                {"views": 1, "blocks": 1, "g": GRID, "dim": DIM},
                provenance_of(features, [tiles], {}),
            ) as out:
                cls = rng.normal(size=(n, 1, DIM)).astype(np.float32)
                append_features(out, FeatureBatch(cls, rng.normal(size=(n, 1, 1, GRID, GRID, DIM)).astype(np.float16)))
            check = FeatureCheck(
                provenance=provenance_of(features, [features], {}),
                fold_id=f"fold{fold}",
                n_tiles=n,
                cls_std=1,
                checks=(),
            )
            write_document(features.with_name(f"fold{fold}_check.json"), check)
            check_targets.run(
                check_targets.Arguments(
                    settings=IntegrityGates(),
                    fold=fold,
                    tiles=tiles,
                    check=tiles.with_name(f"fold{fold}_check.json"),
                )
            )
            for family, organs in self.settings.decoder_families.items():
                gather_families.run(
                    gather_families.Arguments(
                        settings=GatherFamiliesSettings(organs=organs),
                        fold=fold,
                        tiles=tiles,
                        features=features,
                        check=features,
                        members=self.root / f"families/{family}/fold{fold}.h5",
                    )
                )

    def decoder(self, family: str) -> None:
        train_hovernet.run(
            train_hovernet.Arguments(
                settings=TrainHovernetSettings.model_validate({"decoder": DECODER, "training": TRAINING, "seed": 0}),
                split="1",
                family=family,
                train_folds=(1,),
                validate_folds=(2,),
                **self.of((1, 2), family),
                checkpoint=self.out(f"{family}.safetensors"),
                history=self.out(f"{family}_history.csv"),
                maps=self.out(f"{family}_maps.h5"),
                device="cpu",
            )
        )
        validation = self.of((2,), family)
        tune_watershed.run(
            tune_watershed.Arguments(
                settings=TuneWatershedSettings(watershed=ONE_POINT),
                split="1",
                family=family,
                checkpoint=self.out(f"{family}.safetensors"),
                maps=(self.out(f"{family}_maps.h5"),),
                members=validation["members"],
                tiles=validation["tiles"],
                watershed=self.out(f"{family}_watershed.json"),
            )
        )
        evaluate_family.run(
            evaluate_family.Arguments(
                settings=EvaluateSettings(),
                split="1",
                family=family,
                train_folds=(1,),
                test_folds=(3,),
                **self.of((1, 3), family),
                checkpoint=self.out(f"{family}.safetensors"),
                watershed=self.out(f"{family}_watershed.json"),
                evaluation=self.out(f"{family}.json"),
                table=self.out(f"{family}_tiles.csv"),
                gallery=self.out(f"{family}_gallery.json"),
                device="cpu",
            )
        )

    def routed(self) -> None:
        train, test = self.of((1, 2), "all"), self.of((3,), "all")
        train_organ_head.run(
            train_organ_head.Arguments(
                settings=TrainOrganHeadSettings(organ_head=self.settings.organ_head, seed=0),
                split="1",
                train_folds=(1,),
                validate_folds=(2,),
                tiles=train["tiles"],
                features=train["features"],
                checks=train["features"],
                checkpoint=self.out("organ_head.safetensors"),
                history=self.out("organ_head.csv"),
                device="cpu",
            )
        )
        stores = {"tiles": test["tiles"], "features": test["features"]}
        of_test = {"split": "1", "test_folds": (3,), "organ_head": self.out("organ_head.safetensors"), "device": "cpu"}
        evaluate_organ_head.run(
            evaluate_organ_head.Arguments(
                settings=EvaluateSettings(), **of_test, **stores, evaluation=self.out("organ_head.json")
            )
        )
        evaluate_routed.run(
            evaluate_routed.Arguments(
                settings=EvaluateRoutedSettings(families=self.settings.organs, routing=RoutingSettings()),
                **of_test,
                **stores,
                checkpoints=self.every("{}.safetensors"),
                watersheds=self.every("{}_watershed.json"),
                evaluations=self.every("{}.json"),
                tables=self.every("{}_tiles.csv"),
                evaluation=self.out("routed.json"),
                table=self.out("routed_tiles.csv"),
            )
        )

    def every(self, name: str) -> tuple[Path, ...]:
        return tuple(self.out(name.format(family)) for family in self.settings.decoder_families)

    def finished(self) -> None:
        for family in self.settings.decoder_families:
            self.decoder(family)
        if self.settings.has_organ_head:
            self.routed()
        one_each = {
            "evaluations": self.every("{}.json"),
            "watersheds": self.every("{}_watershed.json"),
            "checkpoints": self.every("{}.safetensors"),
            "histories": self.every("{}_history.csv"),
            "routed": (self.out("routed.json"),) if self.settings.has_organ_head else (),
            "organ_heads": (self.out("organ_head.json"),) if self.settings.has_organ_head else (),
        }
        summarize.run(
            summarize.Arguments(
                settings=SummarizeSettings(quality=QualityGates()),
                **one_each,
                summary=self.out("summary.csv"),
                table=self.out("summary.txt"),
                origin=self.out("summary.json"),
            )
        )
        build_report.run(
            build_report.Arguments(
                settings=BuildReportSettings(settings=self.settings),
                **one_each,
                summary=self.out("summary.csv"),
                summary_origin=self.out("summary.json"),
                tables=self.every("{}_tiles.csv"),
                galleries=self.every("{}_gallery.json"),
                folds=self.paths("tiles", ".json"),
                target_checks=self.paths("tiles", "_check.json"),
                feature_checks=self.paths("features", "_check.json"),
                page=self.out("index.html"),
            )
        )

    def rows(self) -> dict[tuple[str, str], dict[str, str]]:
        with self.out("summary.csv").open() as file:
            return {(row["family"], row["metric"]): row for row in csv.DictReader(file)}

    def text(self, name: str) -> str:
        return self.out(name).read_text(encoding="utf-8")


def finished_run(root: Path, data_set: DataSet, organs: Sequence[str]) -> Run:
    run = Run(root, data_set, organs)
    run.prepared()
    run.finished()
    return run


@pytest.fixture(scope="module")
def one_class(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One class, no organs, 0.5 um per pixel."""
    return finished_run(tmp_path_factory.mktemp("one_class"), ONE_CLASS, ["", "", ""])


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three classes, two organs that PanNuke does not have, a family for each."""
    return finished_run(
        tmp_path_factory.mktemp("three"), THREE_CLASSES, ["Brain", "Spinal cord", "Brain", "Spinal cord"]
    )


@pytest.fixture(scope="module")
def one_organ(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two classes, one organ, one decoder."""
    return finished_run(tmp_path_factory.mktemp("one_organ"), ONE_ORGAN, ["Brain", "Brain", "Brain"])


@pytest.mark.parametrize(("name", "channels"), [("one_class", 2), ("three_classes", 4), ("one_organ", 3)])
def test_heads_are_as_wide_as_the_classes_and_checkpoints_name_them(name, channels, request):
    run = request.getfixturevalue(name)

    header, weights = read_checkpoint(run.every("{}.safetensors")[0])

    assert weights["nt.weight"].shape[0] == channels
    assert header.classes == run.data_set.class_names
    assert header.mpp == run.data_set.mpp
    assert header.dataset == run.data_set
    assert header.licence == "weights trained on Own inherit CC BY 4.0 (commercial use is allowed)"


def test_organ_head_knows_the_organs_of_the_data_set(three_classes):
    header, weights = read_checkpoint(three_classes.out("organ_head.safetensors"))
    evaluation = read_document(three_classes.out("organ_head.json"), OrganHeadEvaluation)

    assert header.organs == ("Brain", "Spinal cord")
    assert weights["layers.4.weight"].shape[0] == 2
    assert set(evaluation.recall) == {"Brain", "Spinal cord"}


def test_values_and_tables_are_named_by_the_classes(three_classes):
    evaluation = read_document(three_classes.out("all.json"), FamilyEvaluation)
    rows, page = three_classes.rows(), three_classes.text("index.html")

    bound = evaluation.systems["upper_bound"]
    assert bound["pq_tumour_cell"].value > 0.9
    assert bound["f1_lymphocyte"].value > 0.9
    assert ("first", "pq_other") in rows
    assert len(evaluation.class_confusion) == 3 + 2
    assert "Tumour cell" in page
    assert "Neoplastic" not in page
    assert "PanNuke inherit" not in page
    assert set(evaluation.organs) == {"Brain", "Spinal cord"}


def test_with_one_class_the_accuracy_of_classes_has_no_grade_and_no_advice(one_class):
    rows, page = one_class.rows(), one_class.text("index.html")

    assert rows["all", "nt_accuracy.trivial"]["value"] == "1.0"
    assert rows["all", "nt_accuracy"]["gate"] == rows["all", "gap_nt_accuracy"]["gate"] == ""
    assert "not defined with one class" in page
    assert "classes are confused" not in one_class.text("summary.txt")


def test_one_decoder_is_called_the_decoder_and_nothing_is_said_of_organ_head(one_class):
    text, page = one_class.text("summary.txt"), one_class.text("index.html")

    assert "\nThe decoder (3 test tiles of split 1):\n" in text
    assert not re.search(r"shared decoder|family decoder|OrganHead|split 1, all|of each family", text + page)
    assert "A tile is 128 µm wide" in page
    assert "of the decoder against the classical baseline" in page
    assert {family for family, _ in one_class.rows()} == {"all"}


def test_one_organ_is_listed_and_needs_no_organ_head(one_organ):
    evaluation = read_document(one_organ.out("all.json"), FamilyEvaluation)

    assert set(evaluation.organs) == {"Brain"}
    assert "OrganHead" not in one_organ.text("index.html")


def test_the_origin_of_a_tile_is_in_table_and_gallery_and_is_neither_formula_nor_markup(one_class):
    table = one_class.text("all_tiles.csv")
    scores = read_tile_scores(one_class.out("all_tiles.csv"), columns_of(ONE_CLASS))["decoder"]
    page = one_class.text("index.html")

    assert "'=slide_3.png x=0 y=0 <b>" in table
    assert ",=slide" not in table
    assert scores.text("origin")[1] == "=slide_3.png x=256 y=0 <b>"
    assert "=slide_3.png x=0 y=0 &lt;b&gt;" in page
    assert "y=0 <b>" not in page


def test_distances_are_in_micrometres_of_the_data_set(one_class, tmp_path):
    fine = Run(tmp_path, ONE_CLASS.model_copy(update={"mpp": 0.25}), one_class.organs)
    fine.prepared()
    fine.decoder("all")

    coarse = read_document(one_class.out("all.json"), FamilyEvaluation).systems["classical"]
    half = read_document(fine.out("all.json"), FamilyEvaluation).systems["classical"]

    assert coarse["hausdorff_um"].value == pytest.approx(2 * half["hausdorff_um"].value)
    assert coarse["detection_recall"].value <= half["detection_recall"].value  # 3 um are 6 px and not 12


def test_a_model_refuses_tiles_of_another_resolution_or_other_classes_and_names_both(one_class, tmp_path):
    other = ONE_CLASS.model_copy(update={"mpp": 0.25, "name": "Other"})
    fine = Run(tmp_path, other, one_class.organs)
    fine.prepared()
    arguments = {**fine.of((1, 3), "all"), "checkpoint": one_class.out("all.safetensors")}

    with pytest.raises(StaleFileError, match=r"mpp: .* has 0\.25, .*all\.safetensors has 0\.5"):
        evaluate_family.run(
            evaluate_family.Arguments(
                settings=EvaluateSettings(),
                split="1",
                family="all",
                train_folds=(1,),
                test_folds=(3,),
                **arguments,
                watershed=one_class.out("all_watershed.json"),
                evaluation=tmp_path / "e.json",
                table=tmp_path / "t.csv",
                gallery=tmp_path / "g.json",
                device="cpu",
            )
        )


def test_maps_are_not_predicted_for_tiles_of_other_classes(one_class, one_organ):
    loaded = load_decoder(one_class.out("all.safetensors"), torch.device("cpu"))
    members, tiles, features = one_organ.of((3,), "all").values()

    with open_family(members, tiles, features) as data, pytest.raises(StaleFileError) as caught:
        next(predict_maps(loaded, data.features, data.tiles, np.arange(1)))

    assert "the decoder of all, split 1 has Nucleus, " in str(caught.value)
    assert "has Tumour cell, Other" in str(caught.value)


def test_stores_and_members_name_the_data_set(one_class):
    with open_tiles(one_class.paths("tiles")[0]) as tiles:
        assert tiles.dataset == ONE_CLASS
    assert read_header(one_class.out("all.safetensors")).organs == ()
