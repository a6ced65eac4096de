"""Command `settings`: write config.yaml and config.schema.json from the settings' own definitions."""

import argparse
import json
from pathlib import Path

from cellvit.config.settings import Settings
from cellvit.config.template import config_yaml
from cellvit.formats.atomic import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--folder", type=Path, default=Path(), help="where both files are written (default: here)")


def run(args: argparse.Namespace) -> None:
    """Write both files; a test fails where the ones in the repository differ."""
    write_text(args.folder / "config.yaml", config_yaml())
    write_text(args.folder / "config.schema.json", schema_json())


def schema_json() -> str:
    """JSON schema of the settings, for editors."""
    return json.dumps(Settings.model_json_schema(by_alias=True), indent=2) + "\n"
