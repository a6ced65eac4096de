"""Command line: commands for people, and the steps of the graph, each as its rule calls it."""

import argparse
import ast
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Final

import cellvit
from cellvit.namesake import namesake

# numpy, which is not loaded yet, multiplies matrices in one thread: more would add numbers in another order, and the files of a
# step must not depend on the number of cores.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

_PACKAGE: Final = Path(__file__).parent

_COLUMNS: Final = 100
"""Width of the help."""

ORDER: Final = (
    *("demo", "doctor", "init_dataset", "show", "verify", "compare"),
    *("predict", "export", "corrections", "push"),
    *("simulate_dataset", "simulate_slide", "settings", "snakefile"),
)
"""Commands in the order in which a user needs them: check, own data, results, prediction; then what developers need."""

_DEBUG: Final = "--debug"
"""Option of every command and step: show the traceback of an error."""

_MIXED: Final = 4
"""Exit code where another package of this name has put files into the folder of this one: files that cannot be used."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command or step; 0 on success, else the code of `cellvit.workflow.failures` and one message.

    With ``--debug``, the traceback of an error is shown as well. A step that is a process of its own (no `arguments`) and
    computes on a GPU holds one until it ends.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    other = namesake()
    if other and other.mixed and given[:1] != ["doctor"]:
        sys.stderr.write(f"error: {other.message}\n")
        return _MIXED
    # Imported here, because these modules may be those of the other package, or fail to import beside them.
    from cellvit.workflow.failures import failure_of

    debug = _DEBUG in given
    given = [word for word in given if word != _DEBUG]
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    try:
        _run(given, holds_gpu=arguments is None)
    except Exception as error:  # every kind: failures.py says which message and which code
        if debug:
            traceback.print_exc()
        failure = failure_of(error)
        sys.stderr.write(f"{failure.message}\n")
        return failure.code
    return 0


def _run(given: Sequence[str], *, holds_gpu: bool) -> None:
    from cellvit.workflow.step import run_step

    chosen = given[0] if given and not given[0].startswith("-") else ""
    step = _PACKAGE / "stages" / f"{chosen}.py"
    if chosen.isidentifier() and step.is_file():
        run_step(step, given[1:], holds_gpu=holds_gpu)
        return
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="cellvit", usage="cellvit COMMAND ...", description=_overview(), formatter_class=raw
    )
    parser.add_argument("--version", action="version", version=f"cellvit-optimus {cellvit.__version__}")
    subparsers = parser.add_subparsers(prog="cellvit", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for path in _commands():
        text = fill(_summary(path), _COLUMNS)
        subparser = subparsers.add_parser(path.stem, description=text, epilog=_example(path), formatter_class=raw)
        if path.stem == chosen:
            module = importlib.import_module(f"cellvit.commands.{chosen}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    args = parser.parse_args(given)
    args.run(args)


def _overview() -> str:
    """Commands in the order in which a user needs them, a line each; then the names of the steps, which rules call."""
    commands = "".join(f"  {path.stem:17} {_summary(path)}\n" for path in _commands())
    steps = fill(
        ", ".join(path.stem for path in _modules("stages")), _COLUMNS, initial_indent="  ", subsequent_indent="  "
    )
    return (
        "cellvit-optimus: nuclei models on the features of a frozen foundation model.\n"
        "`snakemake --cores all` runs the whole graph with the settings of config.yaml; outside of the\n"
        'repository: snakemake --snakefile "$(cellvit snakefile)" --cores all\n\n'
        f"commands:\n{commands}\n"
        "`cellvit COMMAND --help` shows the options of a command and an example; --debug shows the traceback\n"
        f"of an error.\n\nsteps of the graph, which Snakemake calls:\n{steps}\n"
    )


def _commands() -> list[Path]:
    """Modules of the commands; one that is not in the list comes last."""
    places = {name: place for place, name in enumerate(ORDER)}
    return sorted(_modules("commands"), key=lambda path: places.get(path.stem, len(places)))


def _modules(folder: str) -> list[Path]:
    return sorted((_PACKAGE / folder).glob("[a-z]*.py"))


def _summary(path: Path) -> str:
    """First line of a module's docstring, read without importing it, without its name in front."""
    line = _docstring(path).splitlines()[0]
    text = line.partition(": ")[2] or line
    return f"{text[:1].upper()}{text[1:]}"


def _example(path: Path) -> str:
    """The line of a command's docstring that begins with "Example:"."""
    lines = [line for line in _docstring(path).splitlines() if line.startswith("Example: ")]
    return lines[0] if lines else f"Example: cellvit {path.stem}"


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem


if __name__ == "__main__":
    sys.exit(main())
