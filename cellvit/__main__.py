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
from cellvit.workflow.gpu.assignment import assign_gpu
from cellvit.workflow.joblog import log_gpu_memory, log_start

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
        if arguments is None and _step_file(given):
            _run_step(given)
        else:
            _run(given)
    except CellvitError as error:
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        sys.stderr.write(f"{type(error).__name__}: {error}{notes}\n")
        return 1
    return 0


def _run_step(given: Sequence[str]) -> None:
    """Run a step in a process of its own, whose log says where it began and what it took of a GPU."""
    log_start(given[0])
    if _device_asked(given) in {"auto", "cuda"}:
        assign_gpu(given[0])
    _run(given)
    log_gpu_memory()


def _run(given: Sequence[str]) -> None:
    """Run a subcommand; arguments that it does not declare are refused, unless it passes them on."""
    parser = _parser(given[0] if given else "")
    args, others = parser.parse_known_args(given)
    if "passed_on" in args:
        args.passed_on = others
    elif others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    args.run(args)


def _step_file(given: Sequence[str]) -> Path | None:
    """Module of the step that is called; None where the subcommand is none, or help is asked for."""
    if not given or not given[0].isidentifier() or {"-h", "--help"} & set(given):
        return None
    path = Path(__file__).parent / "stages" / f"{given[0]}.py"
    return path if path.is_file() else None


def _device_asked(given: Sequence[str]) -> str | None:
    """Value of --device where the step has one, read without importing it: with it comes torch."""
    path = _step_file(given)
    if path is None or '"--device"' not in path.read_text(encoding="utf-8"):
        return None
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="auto")
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
