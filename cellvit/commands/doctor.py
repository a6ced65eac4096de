"""Command `doctor`: check what a real run needs before it starts: data, weights, token, GPU, memory and disk space.

Example: cellvit doctor --configfile mine.yaml
"""

import argparse
import sys
from collections.abc import Callable
from typing import Final

from cellvit.commands.checks.check import Check
from cellvit.commands.checks.inputs import check_data, check_families, check_start, check_weights
from cellvit.commands.checks.machine import check_devices, check_disk, check_gpu, check_locks, check_memory, check_slurm
from cellvit.config.files import add_settings_arguments, given_settings
from cellvit.config.settings import Settings
from cellvit.errors import MissingInputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print the result of every check.

    Raises:
        MissingInputError: A run would stop at one of them.
    """
    settings = given_settings(args)
    checks = [check(settings) for check in _CHECKS]
    sys.stdout.write("".join(f"{check}\n" for check in checks))
    faults = [check.topic for check in checks if check.state == "fault"]
    if faults:
        raise MissingInputError(
            f"a run would stop because of: {', '.join(faults)}. Apply the fixes above and try again."
        )
    sys.stdout.write("ready:  snakemake --cores all\n")


_CHECKS: Final[tuple[Callable[[Settings], Check], ...]] = (
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
