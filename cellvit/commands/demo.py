"""Command `demo`: run the workflow on simulated data, on a CPU in minutes, and predict a slide.

Example: cellvit demo
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from cellvit.config.files import workflow_folder
from cellvit.errors import CellvitError
from cellvit.workflow.ending import at_most, conclusion_lines

_RESULTS: Final = "results/demo"
"""Where profiles/demo puts the results."""

_SLIDE: Final = "data/demo_slide.ome.tif"

_PREDICTIONS: Final = f"{_RESULTS}/predictions"


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
    cellvit = [sys.executable, "-m", "cellvit"]
    model, options = f"{_RESULTS}/bundles/split1", ["--area", "tissue", "--device", "cpu", "--out", _PREDICTIONS]
    _call(_training())
    log = Path(_RESULTS, "logs", "demo_slide.log")
    sys.stdout.write(f"Predicting the nuclei of a simulated slide (about a minute; {log})\n")
    sys.stdout.flush()
    _call([*cellvit, "simulate_slide", _SLIDE, "--organ", "Kidney", "--seed", "1"], log)
    _call([*cellvit, "predict", _SLIDE, "--model", model, *options], log)
    lines = [
        "Finished: the demo",
        *conclusion_lines(Path(_RESULTS)),
        f"Nuclei:   {_PREDICTIONS}/demo_slide/report.html",
    ]
    sys.stdout.writelines(f"{line}\n" for line in at_most(lines))


def _training() -> list[str]:
    folder = workflow_folder()
    profile = folder / "profiles" / "demo"
    snakemake = [sys.executable, "-m", "snakemake", "report", "bundle", "--snakefile", str(folder / "Snakefile")]
    return [*snakemake, "--workflow-profile", str(profile), "--configfile", str(profile / "settings.yaml")]


def _call(command: Sequence[str], log: Path | None = None) -> None:
    """Run a command to its end; its steps find this Python under the name python.

    Args:
        log: File to which its messages are appended; None shows them.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with log.open("ab") if log else nullcontext() as messages:
        process = subprocess.Popen(command, env={**os.environ, "PATH": path}, stdout=messages, stderr=messages)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()  # Ctrl-C reaches it too, and it stops its steps before it ends
    if code:
        raise CellvitError(
            f"cellvit demo: expected that this command succeeds: {shlex.join(command)}; it ended with the code {code}, and its "
            f"messages are {f'in {log}' if log else 'above'}. Fix: cellvit demo, which continues where it stopped"
        )
