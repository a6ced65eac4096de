"""Command `doctor`: check what a run needs before it starts, and how long it will take.

Example: cellvit doctor --configfile mine.yaml
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from cellvit.commands.checks.check import Check
from cellvit.commands.checks.duration import duration_lines
from cellvit.commands.checks.inputs import check_data, check_families, check_start, check_weights
from cellvit.commands.checks.machine import (
    check_devices,
    check_disk,
    check_gpu,
    check_locks,
    check_memory,
    check_packages,
    check_slurm,
)
from cellvit.config.files import add_settings_arguments, given_settings, snakemake_call
from cellvit.config.settings import Settings
from cellvit.errors import CellvitError, MissingInputError
from cellvit.workflow.failures import failure_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_settings_arguments(parser)
    parser.add_argument("--no-estimate", action="store_true", help="do not measure how long the run will take (20 s)")


def run(args: argparse.Namespace) -> None:
    """Print the result of every check.

    Raises:
        MissingInputError: A run would stop at one of them.
    """
    settings = given_settings(args)
    with _quiet():
        checks = []
        for check in _CHECKS:  # each is printed at once: some wait for a network, a driver or a scheduler
            checks.append(_result(check, settings))
            sys.stdout.write(f"{checks[-1]}\n")
            sys.stdout.flush()
        estimate = "" if args.no_estimate else "".join(f"{line}\n" for line in duration_lines(settings))
    faults = [check.topic for check in checks if check.state == "fault"]
    if faults:
        sys.stdout.write(estimate)
        raise MissingInputError(
            f"a run would stop because of: {', '.join(faults)}. Apply the fixes above and try again."
        )
    files = ["--configfile", *map(str, args.configfile)] if args.configfile else []
    values = ["--config", *args.config] if args.config else []
    sys.stdout.write(f"ready: {shlex.join([*snakemake_call(), *files, *values])}\n{estimate}")


def _result(check: Callable[[Settings], Check], settings: Settings) -> Check:
    """What a check found; an error that it raises is a fault, and the other checks follow."""
    try:
        return check(settings)
    except (CellvitError, OSError) as error:
        message = failure_of(error).message.removeprefix("error: ")
        return Check(check.__name__.removeprefix("check_"), "fault", message)


@contextmanager
def _quiet() -> Iterator[None]:
    """Log warnings only: the lines that are printed say what the log would."""
    log = logging.getLogger("cellvit")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


_CHECKS: Final[tuple[Callable[[Settings], Check], ...]] = (
    check_packages,
    check_families,
    check_data,
    check_weights,
    check_start,
    check_gpu,
    check_devices,
    check_memory,
    check_disk,
    check_locks,
    check_slurm,
)
