"""Where the results of a run lie. Snakemake keeps what it knows of them by path, and knows nothing once they have moved."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from cellvit.io.atomic import write_text

_NAME: Final = ".cellvit/home.json"


def moved_from(results: Path) -> Path | None:
    """The folder in which these results were made or last accepted, where that is another one; else None."""
    memory = results / _NAME
    home = Path(json.loads(memory.read_text(encoding="utf-8"))["home"]) if memory.exists() else results.resolve()
    return home if home != results.resolve() else None


def level_times(results: Path) -> None:
    """Give all files of results one time.

    Where Snakemake has no records it judges by times, which say when a step ran last and not whether it made anything
    else: of files of one time, none is newer.
    """
    now = time.time_ns()
    for path in results.rglob("*"):
        with suppress(FileNotFoundError):  # a run beside this one may remove files
            if path.is_file():
                os.utime(path, ns=(now, now))


def settle(results: Path) -> None:
    """From now on these results are at home in their folder."""
    write_text(results / _NAME, json.dumps({"home": str(results.resolve())}) + "\n")
