"""Command `verify`: check whether the results of a run are intact.

Example: cellvit verify --configfile mine.yaml
"""

import argparse
import shlex
import sys
from pathlib import Path

from cellvit.config.files import add_settings_arguments, given_settings, snakemake_call
from cellvit.data.pannuke import fold_files
from cellvit.errors import IntegrityError, MissingInputError
from cellvit.inference.progress import reported
from cellvit.workflow.data_set import data_set_of
from cellvit.workflow.graph import Graph
from cellvit.workflow.verification import OUTSIDE, START, Verification, products, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Check every file of the output folder, and print what is wrong.

    Raises:
        MissingInputError: There are no results.
        IntegrityError: Something was changed, or does not belong together.
    """
    settings = given_settings(args)
    paths = products(Path(settings.results))
    if not paths:
        raise MissingInputError(
            f"{settings.results}: there are no results. Fix: {shlex.join(snakemake_call())}, with the settings of the run"
        )
    verification, graph = Verification(), Graph(settings, dataset=data_set_of(settings))
    for path in reported(paths, "verified", len(paths), unit="files", size=lambda _: 1):
        verify(path, verification, _outside(graph, path), features_removed=graph.features_removed)
    sys.stdout.writelines(f"not checked: {line}\n" for line in verification.not_checked)
    sys.stdout.writelines(f"fault: {line}\n" for line in verification.faults)
    counts = f"{verification.n_files} files and {verification.n_links} links between them"
    if verification.faults:
        raise IntegrityError(f"{len(verification.faults)} faults in {counts}. See the lines above.")
    sys.stdout.write(f"intact: {counts}\n")


def _outside(graph: Graph, path: Path) -> dict[str, Path]:
    """Raw arrays of the fold that `path` was made from, local weights, and where a training starts, where they exist."""
    found = {f"{OUTSIDE}weights": Path(weights) for weights in graph.weights}
    family = path.stem.removeprefix("hovernet_")
    if path.suffix == ".safetensors" and (start := graph.start_file(family)):
        found[START] = Path(start)
    fold = path.stem.removeprefix("fold").partition("_")[0]
    if path.parent.name == "tiles" and fold.isdecimal():
        files = fold_files(Path(graph.data_root), int(fold)).inputs
        found |= {f"{OUTSIDE}{name}": file for name, file in files.items()}
    if graph.own is not None:
        found[f"{OUTSIDE}{graph.own.description.name}"] = graph.own.root
    return {name: file for name, file in found.items() if file.exists()}
