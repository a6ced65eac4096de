"""Who runs Snakemake in a folder: noted when a run starts, so that another machine can tell whose lock it is."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cellvit.io.atomic import write_text

_RECORD: Final = Path(".snakemake", "cellvit_head.json")
_LOCKS: Final = Path(".snakemake", "locks")


@dataclass(frozen=True, slots=True)
class Head:
    """A Snakemake that runs a graph."""

    host: str
    pid: int

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs on another machine, where its process cannot be looked up from here."""
        return self.host != socket.gethostname()


def note_head(folder: Path) -> None:
    """Note this process as the one that runs the graph in `folder`; called when a run starts."""
    head = Head(socket.gethostname(), os.getpid())
    write_text(folder / _RECORD, json.dumps(asdict(head)) + "\n")


def holder_of_lock(folder: Path) -> Head | None:
    """Whoever was noted, where Snakemake's lock is still on `folder`: a run that ended by itself takes it off."""
    if not (folder / _RECORD).exists() or not is_locked(folder):
        return None
    return Head(**json.loads((folder / _RECORD).read_text(encoding="utf-8")))


def is_locked(folder: Path) -> bool:
    """Whether Snakemake's lock is on `folder`: a run is going on, or died."""
    return any((folder / _LOCKS).glob("*.lock"))
