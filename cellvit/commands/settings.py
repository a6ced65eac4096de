"""Command `settings`: write config.yaml and config.schema.json from their definitions.

Example: cellvit settings
"""

import argparse
from pathlib import Path

from cellvit.config.reference import settings_page
from cellvit.config.template import config_yaml, schema_json
from cellvit.formats.atomic import write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--folder", type=Path, default=Path(), help="where the files are written (default: here)")


def run(args: argparse.Namespace) -> None:
    """Write the files; a test fails where the ones in the repository differ. The page is written only into a folder `docs`."""
    write_text(args.folder / "config.yaml", config_yaml())
    write_text(args.folder / "config.schema.json", schema_json())
    if (args.folder / "docs").is_dir():
        write_text(args.folder / "docs" / "settings.md", settings_page())
