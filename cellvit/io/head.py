"""Who runs Snakemake in a folder: noted while a run lasts, so that another machine can tell whose lock it is."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cellvit.io.atomic import write_text

_RECORDS: Final = Path(".snakemake", "cellvit_heads")
_LOCKS: Final = Path(".snakemake", "locks")


@dataclass(frozen=True, slots=True)
class Head:
    """A Snakemake that runs a graph; two may run in a folder where they make different files."""

    host: str
    pid: int


def note_head(folder: Path) -> None:
    """Note this process as one that runs the graph in `folder`."""
    write_text(_record(folder, _this()), json.dumps(asdict(_this())) + "\n")


def forget_head(folder: Path) -> None:
    """Take the note of this process off again; called when its run ends."""
    _record(folder, _this()).unlink(missing_ok=True)


def forget_all_heads(folder: Path) -> None:
    """Take every note off; for when all of them are known to be dead."""
    for record in (folder / _RECORDS).glob("*.json"):
        record.unlink(missing_ok=True)


def heads_elsewhere(folder: Path) -> list[Head]:
    """Runs that began on other machines and did not end in order, where nobody can look up from here; none without a lock."""
    if not is_locked(folder):
        return []
    noted = [
        Head(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted((folder / _RECORDS).glob("*.json"))
    ]
    return [head for head in noted if head.host != socket.gethostname()]


def is_locked(folder: Path) -> bool:
    """Whether Snakemake's lock is on `folder`: a run is going on, or died."""
    return any((folder / _LOCKS).glob("*.lock"))


def _this() -> Head:
    return Head(socket.gethostname(), os.getpid())


def _record(folder: Path, head: Head) -> Path:
    return folder / _RECORDS / f"{head.host}_{head.pid}.json"
