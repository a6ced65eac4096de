"""Command `snakefile`: print the path of the Snakefile that belongs to this installation.

Snakemake runs it so: snakemake --snakefile "$(cellvit snakefile)" --cores all --configfile mine.yaml

Example: cellvit snakefile
"""

import argparse
import sys

from cellvit.config.files import workflow_folder


def add_arguments(_: argparse.ArgumentParser) -> None:
    """There are no options."""


def run(_: argparse.Namespace) -> None:
    """Print the path; config.yaml, rules and profiles are beside the file."""
    sys.stdout.write(f"{workflow_folder() / 'Snakefile'}\n")
