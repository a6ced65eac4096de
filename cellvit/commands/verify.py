"""Command `verify`: hash again what a run made, from raw folds to report, and name what is not what it should be."""

import argparse
from collections.abc import Sequence

from cellvit.config.files import add_settings_arguments, given_settings, snakemake_options
from cellvit.errors import IntegrityError, MissingInputError
from cellvit.verification.chain import links, strangers
from cellvit.verification.links import Fault, Link
from cellvit.verification.run import Run, run_of

_SHOWN_DIGITS = 16
"""Hex digits of a hash that are shown in a message."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print every link in the order of the graph; raise where one is broken. Times of files are not looked at.

    Raises:
        MissingInputError: There are no results.
        IntegrityError: A link is broken; the first is told in full, with the command that mends it.
    """
    settings = given_settings(args)
    known = run_of(settings)
    if not known.layout.results.is_dir():
        raise MissingInputError(
            f"{settings.results}: no such folder. Name the settings of the run: --configfile, --config"
        )
    found = _judged(known)
    broken = [link for link in found if link.state == "broken"] or [link for link in found if link.state == "open"]
    if broken:
        raise IntegrityError(_in_full(broken, snakemake_options(args)))
    known.progress.say(f"verified:  {len(found)} links hold, from raw folds to {known.layout.report}")


def _judged(known: Run) -> list[Link]:
    """Every link, printed when it is judged."""
    found = []
    try:
        for link in links(known):
            found.append(link)
            for line in _lines(link, known):
                known.progress.say(line)
        for path in strangers(known):
            known.progress.say(f"{'note':9}{path}  no step of this run makes it")
    finally:
        known.progress.close()
    return found


def _lines(link: Link, known: Run) -> list[str]:
    product = link.product.relative_to(known.layout.results)
    waiting = f" (waits for {', '.join(map(str, link.waits_for))})" if link.waits_for else ""
    lines = [f"{link.state:9}{product!s:62}from {link.sources}{waiting}"]
    lines += [f"{'':9}{_where(fault, link)}" for fault in link.faults]
    return lines + [f"{'':9}{note}" for note in link.notes]


def _where(fault: Fault, link: Link) -> str:
    beside = "" if fault.file == link.product else f"{fault.file}: "
    return f"{beside}{fault.field}: expected {_short(fault.expected)}, found {_short(fault.found)}"


def _in_full(broken: Sequence[Link], options: Sequence[str]) -> str:
    first = broken[0]
    others = f" (first of {len(broken)}, all above)" if len(broken) > 1 else ""
    if not first.faults:
        return f"{first.product} cannot be judged: {', '.join(map(str, first.waits_for))} is not there"
    fault = first.faults[0]
    lines = [
        f"broken link{others}: {first.product}, made from {first.sources}",
        f"  file      {fault.file}",
        f"  field     {fault.field}",
        f"  expected  {fault.expected}",
        f"  found     {fault.found}",
        f"Mend it:  {first.remedy.text(options)}",
    ]
    if fault.field.startswith("settings."):
        lines.append("Where the run had other settings than these, name them instead: --configfile, --config")
    return "\n".join(lines)


def _short(said: str) -> str:
    """A hash by its first digits; anything else as it is."""
    is_hash = len(said) == 64 and set(said) <= set("0123456789abcdef")
    return said[:_SHOWN_DIGITS] if is_hash else said
