"""Command `demo`: run the whole workflow on simulated data, on a CPU, in minutes, and find the nuclei of a simulated slide.

Example: cellvit demo
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cellvit.config.files import workflow_folder
from cellvit.errors import CellvitError

_RESULTS: Final = "results/demo"
"""Where profiles/demo puts the results."""

_SLIDE: Final = "data/demo_slide.ome.tif"

_END: Final = f"""\
The training:   {_RESULTS}/report/index.html
The nuclei:     {_RESULTS}/predictions/demo_slide/report.html, overlay.png and nuclei.geojson (for QuPath)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="only list the steps that would run")


def run(args: argparse.Namespace) -> None:
    """Run the workflow, simulate a slide and predict its nuclei, in the folder where the user is.

    Raises:
        CellvitError: One of the commands failed.
    """
    if args.dry_run:
        _call([*_training(), "--dry-run"])
        return
    model, out = f"{_RESULTS}/bundles/split1", f"{_RESULTS}/predictions"
    cellvit = [sys.executable, "-m", "cellvit"]
    _call(_training())
    _call([*cellvit, "simulate_slide", _SLIDE, "--organ", "Kidney", "--seed", "1"])
    _call([*cellvit, "predict", _SLIDE, "--area", "tissue", "--device", "cpu", "--model", model, "--out", out])
    sys.stdout.write(_END)


def _training() -> list[str]:
    folder = workflow_folder()
    profile = folder / "profiles" / "demo"
    snakemake = [sys.executable, "-m", "snakemake", "report", "bundle", "--snakefile", str(folder / "Snakefile")]
    return [*snakemake, "--workflow-profile", str(profile), "--configfile", str(profile / "settings.yaml")]


def _call(command: Sequence[str]) -> None:
    """Run a command to its end; its steps find this Python under the name python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.Popen(command, env={**os.environ, "PATH": path})
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()  # Ctrl-C reaches it too, and it stops its steps before it ends
    if code:
        raise CellvitError(
            f"cellvit demo: expected that this command succeeds: {shlex.join(command)}; it ended with the code {code}, and its "
            "messages are above. Fix: cellvit demo, which continues where it stopped"
        )
