"""Command `export`: convert the predicted nuclei of images for other programs.

Example: cellvit export predictions --to anndata
"""

import argparse
import shlex
import sys
from pathlib import Path

from cellvit.errors import MissingInputError
from cellvit.formats.prediction import RUN
from cellvit.prediction.outputs.export import export_anndata

_EPILOG = """\
examples:
  cellvit export predictions --to anndata
      writes nuclei.h5ad beside the table of nuclei of every image in the folder; scanpy and squidpy read it

QuPath opens nuclei.geojson itself; R, Excel and pandas read nuclei.csv.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of one image, or of all images")
    parser.add_argument("--to", choices=("anndata",), required=True, help="format to write")


def run(args: argparse.Namespace) -> None:
    """Export every image, and print what was written.

    Raises:
        MissingInputError: The folder has no finished prediction, or a package is not installed.
        IntegrityError: A table was changed after it was written.
    """
    folders = _finished(args.folder)
    if not folders:
        raise MissingInputError(
            f"{args.folder}: this folder holds no finished prediction. Fix: cellvit predict IMAGE --out {shlex.quote(str(args.folder))}"
        )
    for folder in folders:
        sys.stdout.write(f"{export_anndata(folder)}\n")


def _finished(folder: Path) -> list[Path]:
    if (folder / RUN).exists():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{RUN}"))
