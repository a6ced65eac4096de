"""Processes of runs on this machine: who runs Snakemake in a folder, and steps that outlived it."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil

_SNAKEMAKES_SHELL: Final = "set -euo pipefail;"
"""How every shell command of Snakemake begins."""

_GRACE_S: Final = 10
"""Time between the request to end and the kill."""

_POLL_S: Final = 0.1


class Origin(Enum):
    """Who started a step that no Snakemake waits for."""

    DEAD_HEAD = "its Snakemake is gone"
    BY_HAND = "started by hand"


@dataclass(frozen=True, slots=True)
class LooseStep:
    """A step of the graph that runs in the folder with no Snakemake above it."""

    pid: int
    step: str
    origin: Origin


def heads(folder: Path) -> list[int]:
    """Processes that run Snakemake in `folder`, without those that Snakemake itself started for one job."""
    return [
        process.pid
        for process in _processes_in(folder)
        if _program(_words(process)) == "snakemake" and "--mode" not in _words(process)
    ]


def loose_steps(folder: Path, steps: Collection[str]) -> list[LooseStep]:
    """Processes `python -m cellvit <step>` in `folder` without a Snakemake above them."""
    found = []
    for process in _processes_in(folder):
        step = _subcommand(_words(process))
        if step in steps and not any(_program(_words(parent)) == "snakemake" for parent in _above(process)):
            found.append(LooseStep(process.pid, step, _origin(process)))
    return found


def end(pids: Sequence[int]) -> None:
    """Ask processes and what they started to end, kill what has not after ten seconds, and wait ten seconds more."""
    processes = [process for pid in pids for process in _family(pid)]
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.Error):  # gone, or another user's
                send(process)
        if wait_until(lambda: all(map(_gone, processes)), _GRACE_S):
            return


def wait_until(reached: Callable[[], bool], seconds: float, *, every: float = _POLL_S) -> bool:
    """Look again and again; whether it was reached in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def _processes_in(folder: Path) -> Iterator[psutil.Process]:
    """Processes whose working directory is `folder`; what other users hide is passed over."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()) == folder.resolve() and not _gone(process):
                yield process


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _above(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.parents())
    except psutil.Error:
        return []


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _origin(process: psutil.Process) -> Origin:
    """A shell of Snakemake's, or nobody, above a step says that Snakemake was there."""
    parent = next(iter(_above(process)), None)
    words = _words(parent) if parent else []
    from_shell = len(words) > 2 and words[1] == "-c" and words[2].startswith(_SNAKEMAKES_SHELL)
    return Origin.DEAD_HEAD if parent is None or parent.pid == 1 or from_shell else Origin.BY_HAND


def _program(words: Sequence[str]) -> str:
    """Name of what a command line runs: of the script or module where it is Python that runs it.

    Examples:
        >>> _program(["/usr/bin/python3", "/env/bin/snakemake", "--cores", "2"])
        'snakemake'
        >>> _program(["python", "-u", "-m", "cellvit", "train_hovernet"])
        'cellvit'
    """
    if not words:
        return ""
    if not Path(words[0]).name.startswith("python"):
        return Path(words[0]).name
    rest = list(words[1:])
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        rest.pop(0)
    return Path(rest[1 if rest[0] == "-m" and len(rest) > 1 else 0]).name if rest else ""


def _subcommand(words: Sequence[str]) -> str:
    """Step that a command line of ours runs; empty where it is none of ours."""
    if _program(words) != "cellvit":
        return ""
    following = [after for word, after in pairwise(words) if Path(word).name == "cellvit"]
    return following[0] if following else ""


def _gone(process: psutil.Process) -> bool:
    """Whether it runs no more; one that ended and was not waited for by its parent counts as gone."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
