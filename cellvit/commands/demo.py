"""Command `demo`: run the workflow on simulated data, on a CPU in minutes, and predict a slide.

Example: cellvit demo
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cellvit.config.files import workflow_folder
from cellvit.errors import BusyFolderError, CellvitError
from cellvit.workflow.failures import failure_of

_SLIDE: Final = "data/demo_slide.ome.tif"
"""Where profiles/demo looks for the image to predict."""

_PAGE: Final = "results/demo/report/index.html"
_NUCLEI: Final = "results/demo/predictions/demo_slide/report.html"
"""Where profiles/demo puts what a user wants to see."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="only list the steps that would run")


def run(args: argparse.Namespace) -> None:
    """Simulate a slide, and run the workflow to its report and the nuclei of the slide, in the folder where the user is.

    Raises:
        BusyFolderError: Another run uses the output folder.
        CellvitError: One of the commands failed.
    """
    if args.dry_run:
        _call([*_snakemake("report", "bundle"), "--dry-run"])  # a prediction can be planned only if its slide is there
        return
    if not Path(_SLIDE).exists():
        simulate = ["simulate_slide", _SLIDE, "--organ", "Colon", "--seed", "1", "--width", "1280", "--height", "1024"]
        _call([sys.executable, "-m", "cellvit", *simulate])
    started = time.time()
    _call(_snakemake("report", "predict"))
    if Path(_PAGE).stat().st_mtime < started:
        sys.stdout.write(f"The demo was finished before: {_PAGE}, {_NUCLEI}\n")


def _snakemake(*targets: str) -> list[str]:
    folder = workflow_folder()
    profile = folder / "profiles" / "demo"
    snakemake = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(folder / "Snakefile")]
    # Snakemake's own lock outlives a killed run, and only --unlock of Snakemake removes it. The lock of the output folder, which
    # ends with its process, refuses a second run as well (Snakefile).
    return [*snakemake, "--nolock", "--workflow-profile", str(profile), "--configfile", str(profile / "settings.yaml")]


def _call(command: Sequence[str]) -> None:
    """Run a command to its end; its steps find this Python under the name python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.Popen(command, env={**os.environ, "PATH": path})
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()  # Ctrl-C reaches it too, and it stops its steps before it ends
    if code == failure_of(BusyFolderError()).code:
        raise BusyFolderError(
            "cellvit demo: expected that no other run uses its output folder, found the one that the message above names. "
            "Fix: wait for it, or end it; then cellvit demo, which continues where it stopped"
        )
    if code:
        raise CellvitError(
            f"cellvit demo: expected that this command succeeds: {shlex.join(command)}; it ended with the code {code}, and its "
            "messages are above. Fix: cellvit demo, which continues where it stopped"
        )
