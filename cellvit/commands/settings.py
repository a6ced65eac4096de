"""Command `settings`: write config.yaml and config.schema.json from the settings' own definitions."""

import argparse
from pathlib import Path

from cellvit.config.template import config_yaml, schema_json
from cellvit.formats.atomic import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--folder", type=Path, default=Path(), help="where both files are written (default: here)")


def run(args: argparse.Namespace) -> None:
    """Write both files; a test fails where the ones in the repository differ."""
    write_text(args.folder / "config.yaml", config_yaml())
    write_text(args.folder / "config.schema.json", schema_json())
