"""Command `show`: show the images and annotations of your data set on one page.

Example: cellvit show my_tiles
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from tqdm import tqdm

from cellvit.data.overview import overview_of, suspicious_first
from cellvit.data.own_data import read_own_data
from cellvit.data.own_images import read_own_image
from cellvit.data.own_survey import OwnChecks
from cellvit.formats.digests import sha256_of
from cellvit.formats.own_description import DESCRIPTION
from cellvit.formats.own_tiles import TABLE
from cellvit.formats.page import write_page
from cellvit.formats.provenance import Provenance
from cellvit.report.own_data import render_own_data
from cellvit.report.own_pictures import pictures_of

_IMAGES: Final = 24
"""Images with pictures; with 512 px each they take about 10 MB of the page."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder with dataset.yaml and tiles.csv")
    parser.add_argument("--out", type=Path, help="page to write (default: FOLDER.html, in the folder where you are)")
    parser.add_argument("--images", type=int, default=_IMAGES, metavar="N", help=f"images to show (default: {_IMAGES})")


def run(args: argparse.Namespace) -> None:
    """Read all images, and write the page.

    Raises:
        MissingInputError: A file does not exist.
        ContractError: The data set is not described as it must be.
    """
    folder, out, n_shown = args.folder, args.out or Path(f"{args.folder.resolve().name}.html"), max(args.images, 0)
    own = read_own_data(folder)
    rows = tqdm(own.rows, desc="reading", unit="image", disable=None)
    checks = OwnChecks(own)
    images = suspicious_first(overview_of(own, rows, checks))
    colors = [entry.color for entry in own.description.classes]
    readable = [image for image in images if not image.error]
    findings = sorted(checks.findings(), key=lambda finding: not finding.stops)
    # Read once more, so that memory does not grow with the number of images.
    shown = [(image, pictures_of(read_own_image(own, image.row), colors)) for image in readable[:n_shown]]
    made_from = {os.path.relpath(folder / name, out.parent): sha256_of(folder / name) for name in (DESCRIPTION, TABLE)}
    write_page(out, render_own_data(own, images, findings, shown), Provenance(made_from=made_from))
    sys.stdout.write("".join(f"{finding}\n" for finding in findings))
    n_errors, n_suspicious = len(images) - len(readable), sum(bool(image.reasons) for image in readable)
    sys.stdout.write(
        f"{len(images)} images, {sum(image.n_nuclei for image in images):,} nuclei; {n_errors} images cannot be read, "
        f"{n_suspicious} are worth a look first.\nOpen in a browser: {out}\n"
    )
