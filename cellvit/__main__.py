"""Command line: ``python -m cellvit <step>`` runs one step of the graph, as its rule does."""

import argparse
import ast
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import cellvit
from cellvit.errors import CellvitError
from cellvit.io.gpu.assignment import assign_gpu

_PACKAGES = ("stages", "commands")
"""Where subcommands live: steps of the graph (each has a rule of the same name), and helpers."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 on success, 1 on a fault that the user can mend (said in one message).

    A process of its own (no `arguments`) that computes on a GPU holds one until it ends.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    try:
        if arguments is None and _device_asked(given) in {"auto", "cuda"}:
            assign_gpu(given[0])
        args = _parser(given[0] if given else "").parse_args(given)
        args.run(args)
    except CellvitError as error:
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        sys.stderr.write(f"{type(error).__name__}: {error}{notes}\n")
        return 1
    return 0


def _device_asked(given: Sequence[str]) -> str | None:
    """Value of --device where the subcommand has one, read without importing the step: with it comes torch."""
    path = Path(__file__).parent / "stages" / f"{given[0]}.py" if given and given[0].isidentifier() else None
    if path is None or not path.is_file() or '"--device"' not in path.read_text(encoding="utf-8"):
        return None
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-h", "--help", dest="device", action="store_const", const=None)
    asked: str | None = parser.parse_known_args(given)[0].device
    return asked


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser; only the module of the chosen subcommand is imported."""
    parser = argparse.ArgumentParser(
        prog="python -m cellvit",
        description="cellvit-optimus: nuclei models on frozen foundation features. `snakemake` runs the whole graph.",
    )
    parser.add_argument("--version", action="version", version=f"cellvit-optimus {cellvit.__version__}")
    subparsers = parser.add_subparsers(metavar="<subcommand>", required=True)
    for package in _PACKAGES:
        for path in sorted((Path(__file__).parent / package).glob("[a-z]*.py")):
            summary = _summary(path)
            subparser = subparsers.add_parser(path.stem, help=summary, description=summary)
            if path.stem == chosen:
                module = importlib.import_module(f"cellvit.{package}.{path.stem}")
                module.add_arguments(subparser)
                subparser.set_defaults(run=module.run)
    return parser


def _summary(path: Path) -> str:
    """First line of a module's docstring, read without importing it, without its name in front."""
    line = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
    return line.partition(": ")[2].replace("%", "%%") or line


if __name__ == "__main__":
    sys.exit(main())
