"""Stage `clean_features`: list the features of a run with their sizes, and remove them on a clear yes."""

import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cellvit.formats.atomic import write_text
from cellvit.formats.writing import PARTIAL
from cellvit.workflow.arguments import How
from cellvit.workflow.graph import removed_marker

log = logging.getLogger(__name__)

_YES: Final = frozenset({"yes", "true"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the step looks at."""

    results: Annotated[Path, How("output folder of the run")]
    clean: Annotated[str, How("yes removes without asking; otherwise a terminal is asked")] = "no"
    from_cache: Annotated[Path | None, How("result cache, in which features are removed too")] = None


def run(arguments: Arguments) -> None:
    """Print what can be removed, and remove it where the answer is yes."""
    files = _removable(arguments)
    total = sum({(status.st_dev, status.st_ino): status.st_size for status in map(Path.stat, files)}.values())
    for path in files:
        sys.stdout.write(f"{path.stat().st_size / 1e6:12.1f} MB  {path}\n")
    sys.stdout.write(f"{total / 1e6:12.1f} MB on the disk (files that share their space count once)\n")
    if not files:
        sys.stdout.write("There are no features to remove.\n")
    elif arguments.clean.lower() in _YES or _answered_yes(total):
        write_text(
            removed_marker(arguments.results), "Removed by clean_features; made again where a step needs them.\n"
        )
        for path in files:
            path.unlink()
        sys.stdout.write(
            f"Removed {len(files)} files, {total / 1e6:.1f} MB. A run extracts features again where a changed step needs "
            "them. To extract all of them now:  snakemake --forcerun extract_features\n"
        )
    else:
        sys.stdout.write("Nothing was removed. To remove them:  snakemake clean_features --config clean=yes\n")


def _removable(arguments: Arguments) -> list[Path]:
    """Feature stores, finished and unfinished, and those of the result cache."""
    folder = arguments.results / "features"
    files = [*folder.glob("*.h5"), *(folder / PARTIAL).glob("*.h5")]
    if arguments.from_cache:
        entries = {path.parent for path in arguments.from_cache.glob("*/features")}
        files += [file for entry in entries for file in entry.iterdir()]
    return sorted(files)


def _answered_yes(total: int) -> bool:
    """Ask the person at the terminal; no where there is none (Snakemake's own input and output may lead elsewhere)."""
    with suppress(OSError), Path("/dev/tty").open("r+b", buffering=0) as terminal:
        if os.tcgetpgrp(terminal.fileno()) != os.getpgrp():
            return False  # in the background, a question would stop the run
        terminal.write(f"Remove these files ({total / 1e9:.2f} GB)? Type yes: ".encode())
        return terminal.readline().decode().strip().lower() in _YES
    return False
