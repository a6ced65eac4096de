"""Settings of a run as Snakemake puts them together: files over files, and single values over both."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cellvit.config.settings import Settings, load_settings
from cellvit.errors import SettingsError


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how a command is told the settings of a run: as Snakemake is."""
    parser.add_argument(
        "--configfile", type=Path, nargs="*", default=[], help="settings files, later over earlier (after config.yaml)"
    )
    parser.add_argument(
        "--config", nargs="*", default=[], metavar="KEY=VALUE", help="settings over those of the files, as YAML"
    )
    parser.add_argument("--base", type=Path, default=Path("config.yaml"), help="settings file that comes first")


def given_settings(args: argparse.Namespace) -> Settings:
    """The settings that the arguments name.

    Raises:
        SettingsError: A file is not there, a value cannot be read, or a setting is wrong.
    """
    merged: dict[str, Any] = {}
    for path in (args.base, *args.configfile):
        if not path.is_file():
            raise SettingsError(f"{path}: no such settings file. Run in the repository, or name it by --base.")
        _lay_over(merged, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    _lay_over(merged, _parsed(args.config))
    return load_settings(merged)


def settings_yaml(settings: Settings) -> str:
    """Settings as a file that gives the same again over config.yaml: defaults that they lack are set to null."""
    written = settings.model_dump(mode="json", by_alias=True)
    defaults = Settings().model_dump(mode="json", by_alias=True)
    for key in ("families", "splits"):  # mappings are merged by name, so that others would come back
        written[key] |= dict.fromkeys(sorted(defaults[key].keys() - written[key].keys()))
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True)


def snakemake_options(args: argparse.Namespace) -> list[str]:
    """The same settings as options of Snakemake."""
    files = ["--configfile", *map(str, args.configfile)] if args.configfile else []
    return files + (["--config", *args.config] if args.config else [])


def _parsed(pairs: Sequence[str]) -> dict[str, Any]:
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"--config {pair}: the value is no YAML ({error}). Quote it as Snakemake's.") from error
        if not equals:
            raise SettingsError(f"--config {pair}: expected KEY=VALUE, as seed=1 or training='{{\"epochs\": 3}}'")
    return values


def _lay_over(below: dict[str, Any], above: dict[str, Any]) -> None:
    """Merge as Snakemake does: mappings key by key, everything else as a whole."""
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value)
        else:
            below[key] = value
