"""Settings of a run, combined as Snakemake combines them: later files override earlier ones, and values override files."""

import argparse
from pathlib import Path
from typing import Any, Final

import yaml

import cellvit
from cellvit.config.base import override
from cellvit.config.settings import Settings, load_settings
from cellvit.config.strict import given_values, read_settings_file

_CONFIG: Final = Path("config.yaml")


def workflow_folder() -> Path:
    """Folder of Snakefile, config.yaml, rules and profiles: that of the checkout, or the one that a wheel installed."""
    return (Path(cellvit.__file__).parent / "workflow" / "snakemake" / "Snakefile").resolve().parent


def snakemake_call() -> list[str]:
    """How Snakemake is called in this folder: outside of the checkout, the Snakefile must be named."""
    named = [] if Path("Snakefile").exists() else ["--snakefile", str(workflow_folder() / "Snakefile")]
    return ["snakemake", *named, "--cores", "all"]


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options for the settings of a run, which are those of Snakemake."""
    files = "settings files that override config.yaml, the last first"
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], metavar="FILE", help=files)
    values = "settings that override the files, as YAML"
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help=values)
    base = _CONFIG if _CONFIG.exists() else workflow_folder() / _CONFIG
    parser.add_argument(
        "--base",
        type=Path,
        default=base,
        metavar="FILE",
        help=f"settings file that all others override (default: {base})",
    )


def given_settings(args: argparse.Namespace) -> Settings:
    """The settings that the arguments of a command give.

    Raises:
        SettingsError: A file does not exist, a value cannot be read, or a setting is not valid.
    """
    merged: dict[str, Any] = {}
    for path in (args.base, *args.configfile):
        override(merged, read_settings_file(path))
    override(merged, given_values(args.config))
    return load_settings(merged)


def settings_yaml(settings: Settings) -> str:
    """Settings as a file that gives the same settings over config.yaml: default families and splits that they do not have
    are null."""
    written = settings.model_dump(mode="json", by_alias=True)
    defaults = Settings().model_dump(mode="json", by_alias=True)
    for key in ("families", "splits"):  # merged by name, so that the defaults would return
        written[key] |= dict.fromkeys(sorted(defaults[key].keys() - written[key].keys()))
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
