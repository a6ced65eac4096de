"""Lookups of the rules that predict images."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from predictions import write_png

from cellvit.config.prediction import PredictionSettings
from cellvit.config.settings import Settings, load_settings
from cellvit.errors import SettingsError
from cellvit.workflow.predicted import Predicted


def settings(**prediction: object) -> Settings:
    return load_settings(
        {"data": {"root": None, "simulated": {"tiles_per_fold": 4}}, "results": "out", "prediction": prediction}
    )


def test_the_bundle_of_the_first_split_is_used_where_none_is_named() -> None:
    assert Predicted(settings()).made_here == ["out/bundles/split1/bundle.json"]


def test_splits_and_final_models_are_bundles_of_the_run_and_other_names_are_folders_or_repositories() -> None:
    found = Predicted(settings(models=["2", "final", "../theirs", "hf-hub:lab/model"]))

    assert found.models == ["out/bundles/split2", "out/bundles/final", "../theirs", "hf-hub:lab/model"]
    assert found.made_here == [f"{folder}/bundle.json" for folder in found.models[:3]]


def test_an_image_of_a_table_has_its_own_organ_and_resolution(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "images.csv").write_text("path,organ,mpp\na.png,Colon,0.5\n")
    found = Predicted(settings(images=str(tmp_path / "images.csv"), mpp=0.25, overlap_px=64))

    read = PredictionSettings.model_validate_json(found.settings_of(SimpleNamespace(slide="a")))

    assert list(found.jobs) == ["a"]
    assert (read.organ, read.mpp, read.overlap_px, read.images) == ("Colon", 0.5, 64, None)


def test_a_prediction_without_images_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"prediction.images: expected .* Fix: snakemake predict"):
        _ = Predicted(settings()).jobs


def test_an_image_with_braces_in_its_name_is_refused_by_name(tmp_path: Path) -> None:
    write_png(tmp_path / "{fold}.png", np.zeros((8, 8, 3), np.uint8))

    with pytest.raises(
        SettingsError, match=r"prediction\.images: .*\{fold\}\.png: expected a path without .* Fix: rename"
    ):
        _ = Predicted(settings(images=str(tmp_path))).jobs
