"""SLURM's queue, as squeue shows it and scancel empties it."""

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellvit.errors import MissingInputError

JOBNAME_PREFIX: Final = "cellvit"
"""`slurm-jobname-prefix` of profiles/slurm: the executor names every job of a run {prefix}_{id of the run}."""

_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits, runs or is being ended.

    Attributes:
        what: The executor's comment: the rule and its wildcards.
    """

    number: str
    state: str
    what: str


def has_slurm() -> bool:
    """Whether SLURM's commands are on this machine."""
    return shutil.which("squeue") is not None


def jobs_of(folder: Path, prefix: str) -> list[QueuedJob]:
    """Jobs of this user in the queue whose name has the prefix and whose working directory is `folder`.

    Raises:
        MissingInputError: SLURM's controller does not answer.
    """
    found = []
    for line in _output("squeue", "--me", "--noheader", "--format=%i|%T|%j|%k|%Z").splitlines():
        number, state, name, what, workdir = line.split("|", 4)
        if name.startswith(f"{prefix}_") and Path(workdir).resolve() == folder.resolve():
            found.append(QueuedJob(number, state, what))
    return found


def cancel(jobs: Iterable[QueuedJob]) -> None:
    """Ask SLURM to end jobs; they leave the queue a little later."""
    _output("scancel", *(job.number for job in jobs))


def _output(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise MissingInputError(
            f"{words[0]} does not answer, so that jobs of a dead run cannot be found: {said}\n"
            "  Try again when it does; where no run of this folder ever used SLURM: --no-slurm"
        ) from error
    return done.stdout
