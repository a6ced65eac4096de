"""Stage `clean_features`: list features with their sizes, and on a clear yes remove them: they can be made again."""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cellvit.errors import CellvitError
from cellvit.formats.atomic import write_text
from cellvit.formats.family import FAMILY_FEATURES
from cellvit.formats.features import FEATURES
from cellvit.formats.hdf5 import Store
from cellvit.formats.kept import KEPT
from cellvit.formats.partial import PARTIAL
from cellvit.formats.removed import header_of, remember_removed
from cellvit.formats.removed_record import StoreHeader
from cellvit.formats.shards import SHARDS

log = logging.getLogger(__name__)

_YES: Final = frozenset({"yes", "true"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; option names match the rule's output and params."""
    parser.add_argument("--results", type=Path, required=True, help="output folder of the run")
    parser.add_argument("--yes", default="no", help="yes removes without asking; else a terminal is asked")
    parser.add_argument("--receipt", type=Path, required=True, help="text to write: what was done")


def run(args: argparse.Namespace) -> None:
    """Print what can go; remove it where the answer is yes. What the removed stores said is remembered."""
    files = _removable(args.results)
    total = _disk_bytes(files)
    for path in files:
        sys.stdout.write(f"{path.stat().st_size / 1e6:12.1f} MB  {path}\n")
    sys.stdout.write(f"{total / 1e6:12.1f} MB on disk (names of one file count once)\n")
    if not files:
        outcome = "There are no features to remove."
    elif args.yes.lower() in _YES or _answered_yes(total):
        _remove(args.results, files)
        outcome = (
            f"Removed {len(files)} files, {total / 1e6:.1f} MB. A run makes them again where something changed that needs "
            "them; at once:  snakemake --forcerun extract_features gather_family"
        )
    else:
        outcome = "Nothing was removed. To remove them:  snakemake clean_features --config clean=yes"
    sys.stdout.write(f"{outcome}\n")
    write_text(args.receipt, f"{outcome}\n")


def _removable(results: Path) -> list[Path]:
    """Features in every form. Targets of families stay: they are views on tiles, and small."""
    features = results / "features"
    folders = [folder / name for folder in (features, features / SHARDS) for name in (KEPT, PARTIAL)]
    files = [*features.glob("*.h5"), *(features / SHARDS).glob("*.h5"), *results.glob("families/*/features.h5")]
    files += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(files)


def _disk_bytes(files: list[Path]) -> int:
    return sum({(status.st_dev, status.st_ino): status.st_size for status in (path.stat() for path in files)}.values())


def _answered_yes(total: int) -> bool:
    """Ask who sits at the terminal; no where nobody does (Snakemake's own input and output may lead elsewhere)."""
    with suppress(OSError), Path("/dev/tty").open("r+b", buffering=0) as terminal:
        if os.tcgetpgrp(terminal.fileno()) != os.getpgrp():
            return False  # in the background, a question would stop the run
        terminal.write(f"Remove these files ({total / 1e9:.2f} GB)? Type yes: ".encode())
        return terminal.readline().decode().strip().lower() in _YES
    return False


def _remove(results: Path, files: list[Path]) -> None:
    remember_removed(results, dict(_headers(results, files)))
    for path in files:
        path.unlink()
    features = results / "features"
    for folder in (features, features / SHARDS):
        for name in (KEPT, PARTIAL):
            shutil.rmtree(folder / name, ignore_errors=True)
    log.info("removed files=%d", len(files))


def _headers(results: Path, files: list[Path]) -> Iterator[tuple[Path, StoreHeader]]:
    """What the stores say that steps read; one that cannot be opened is not remembered, and verify will miss it."""
    for path in files:
        if path.suffix != ".h5" or {KEPT, PARTIAL} & set(path.parts):
            continue
        fmt = FAMILY_FEATURES if (results / "families") in path.parents else FEATURES
        try:
            with Store(path, fmt) as store:
                yield path, header_of(store)
        except CellvitError as error:
            log.warning("not remembered store=%s because %s", path, str(error).splitlines()[0])
