"""Links of the chain from raw folds to report: what held, what did not, and what mends it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["ok", "note", "removed", "open", "broken"]
"""note: it holds, and something is worth knowing; removed: by clean_features; open: cannot be said until what is before it
is mended."""


class Fault(NamedTuple):
    """A claim that does not hold.

    Attributes:
        field: Where in the file the claim stands.
    """

    file: Path
    field: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """What makes a product again, and what follows from it where it differs.

    Attributes:
        remove: Files that Snakemake would take for good; those that are there are removed first.
        make: Files to ask for.
        copy: A file and its intact twin, which takes its place; nothing is made then.
        words: What to do by hand; there is no command then.
    """

    remove: tuple[Path, ...] = ()
    make: tuple[Path, ...] = ()
    copy: tuple[tuple[Path, Path], ...] = ()
    words: str = ""

    def text(self, settings: Sequence[str] = ()) -> str:
        """The command, with the options that name the settings of the run.

        Examples:
            >>> Remedy(make=(Path("results/summary.csv"),)).text(["--configfile", "mine.yaml"])
            'snakemake --configfile mine.yaml -- results/summary.csv report'
        """
        if self.words:
            return self.words
        if self.copy:
            return " && ".join(shlex.join(["cp", str(twin), str(file)]) for file, twin in self.copy)
        there = [str(path) for path in dict.fromkeys(self.remove) if path.exists()]
        made = shlex.join(["snakemake", *settings, "--", *map(str, self.make), "report"])
        return f"{shlex.join(['rm', *there])} && {made}" if there else made


@dataclass(frozen=True, slots=True)
class Link:
    """What was found out about a product.

    Attributes:
        sources: What it was held against, in words.
        waits_for: Broken products behind its sources.
        removed: True where `clean_features` removed the product.
    """

    product: Path
    sources: str
    remedy: Remedy
    faults: tuple[Fault, ...] = ()
    waits_for: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    removed: bool = False

    @property
    def state(self) -> State:
        """The worst that was found."""
        if self.faults:
            return "broken"
        if self.waits_for:
            return "open"
        if self.removed:
            return "removed"
        return "note" if self.notes else "ok"
