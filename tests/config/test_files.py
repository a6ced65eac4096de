"""Settings from files and values, combined as Snakemake combines them."""

import argparse
from pathlib import Path

import pytest
import yaml

from cellvit.config.files import add_settings_arguments, given_settings, settings_yaml
from cellvit.config.settings import load_settings
from cellvit.errors import SettingsError


def given(repository: Path, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_settings_arguments(parser)
    return parser.parse_args(["--base", str(repository / "config.yaml"), *arguments])


def test_values_override_files_and_files_override_config_yaml(repository: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("seed: 3\ntraining: {epochs: 7, batch_size: 4}\n")

    settings = given_settings(
        given(repository, "--configfile", str(mine), "--config", "training={'epochs': 9}", "results=other")
    )

    assert (settings.seed, settings.training.epochs, settings.training.batch_size) == (3, 9, 4)
    assert settings.results == "other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--configfile", "nowhere.yaml"], "nowhere.yaml: the settings file does not exist"),
        (["--config", "seed"], "--config seed: expected KEY=VALUE"),
        (["--config", "training={"], "--config training: this is not valid YAML"),
        (["--config", "sed=1"], "sed: unknown key; did you mean seed?"),
    ],
)
def test_invalid_arguments_are_refused_by_name(repository: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        given_settings(given(repository, *arguments))

    assert message in str(refused.value)


def test_written_settings_give_the_same_settings_over_config_yaml(repository: Path, tmp_path: Path) -> None:
    settings = load_settings(
        {
            "data": {"root": None, "simulated": {"tiles_per_fold": 4}},
            "families": {"digestive": ["Colon"], "renal": {"organs": ["Kidney"], "training": {"epochs": 9}}},
            "splits": {"mine": {"train": 1, "validate": 2, "test": 3}},
            "encoder": {"preset": "tiny-vit", "weights": "random"},
            "training": {"learning_rate": 1e-5},
        }
    )

    (tmp_path / "settings.yaml").write_text(settings_yaml(settings))

    assert given_settings(given(repository, "--configfile", str(tmp_path / "settings.yaml"))) == settings
    assert yaml.safe_load(settings_yaml(settings))["splits"]["2"] is None
