"""Command `recover`: go on after a dead Snakemake: end the jobs that it left behind, unlock, run its command again."""

import argparse
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cellvit.errors import BusyFolderError, CellvitError, SettingsError
from cellvit.io.head import forget_all_heads, heads_elsewhere, is_locked
from cellvit.io.processes import LooseStep, Origin, end, heads, loose_steps, wait_until
from cellvit.io.slurm import JOBNAME_PREFIX, QueuedJob, cancel, has_slurm, jobs_of

_STAGES: Final = Path(__file__).parents[1] / "stages"

_POLL_S: Final = 2
"""Between two looks at SLURM's queue."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--list", action="store_true", help="say what is left behind, and end nothing")
    parser.add_argument(
        "--head-is-dead",
        action="store_true",
        help="your word for a run that began on another machine, named in the error",
    )
    parser.add_argument("--no-slurm", action="store_true", help="do not ask SLURM: no run of this folder used it")
    parser.add_argument(
        "--jobname-prefix", default=JOBNAME_PREFIX, help="slurm-jobname-prefix of the profile (default: %(default)s)"
    )
    parser.add_argument(
        "--wait", type=int, default=600, help="seconds that SLURM may take to end jobs (default: %(default)s)"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the snakemake command to go on with")


def run(args: argparse.Namespace) -> None:
    """End what a dead run left in this folder, unlock it, and become the command that goes on.

    Raises:
        BusyFolderError: The run is alive, or may be; nothing was ended.
    """
    words = [word for position, word in enumerate(args.command) if position or word != "--"]
    snakemake = 0 if args.list else _position_of_snakemake(words)
    folder, prefix = Path.cwd(), None if args.no_slurm or not has_slurm() else args.jobname_prefix
    _refuse_where_alive(folder, head_is_dead=args.head_is_dead)
    _tell(*(_left_behind(folder, prefix) or ["nothing is left behind"]))
    if args.list:
        return
    _end_all(folder, prefix, args.wait)
    if is_locked(folder):
        _unlock(words, snakemake)
    forget_all_heads(folder)
    going_on = _with_flag(words, snakemake, "--rerun-incomplete")
    _tell(f"going on: {' '.join(going_on)}")
    sys.stdout.flush()
    os.execvp(going_on[0], going_on)


def _position_of_snakemake(words: Sequence[str]) -> int:
    names = [Path(word).name for word in words]
    if "snakemake" not in names:
        raise SettingsError(
            f"expected the snakemake command to go on with, found {' '.join(words) or 'nothing'}. For example:\n"
            "  python -m cellvit recover -- snakemake --workflow-profile profiles/slurm"
        )
    if shutil.which(words[0]) is None:
        raise SettingsError(
            f"{words[0]}: no such program, so that nothing was ended. Activate the environment that Snakemake is in, or give "
            "its path"
        )
    return names.index("snakemake")


def _refuse_where_alive(folder: Path, *, head_is_dead: bool) -> None:
    alive = heads(folder)
    if alive:
        raise BusyFolderError(
            f"{folder}: Snakemake is alive here, process {alive[0]} on {socket.gethostname()}. Nothing was ended.\n"
            f"  Let it go on; or end it (Ctrl-C there, or kill -INT {alive[0]}: it cancels its jobs) and call again"
        )
    by_hand = [step for step in _steps(folder) if step.origin is Origin.BY_HAND]
    if by_hand:
        raise BusyFolderError(
            f"{folder}: process {by_hand[0].pid} is a {by_hand[0].step} that was started by hand. Nothing was ended.\n"
            "  Let it end, or end it, and call again"
        )
    elsewhere = heads_elsewhere(folder)
    if elsewhere and not head_is_dead:
        named = " and ".join(f"on {head.host} as process {head.pid}" for head in elsewhere)
        raise BusyFolderError(
            f"{folder}: locked, and a run began {named}; from {socket.gethostname()} nobody can tell whether it is alive. "
            f"Nothing was ended.\n  Call this on {elsewhere[0].host}; or look there (ps -p {elsewhere[0].pid}), and if it is "
            "gone: --head-is-dead"
        )


def _end_all(folder: Path, prefix: str | None, wait_s: int) -> None:
    """End jobs and processes until none is left: a dying run may have submitted one more."""
    while jobs := _jobs(folder, prefix):
        cancel(jobs)
        if not wait_until(lambda: not _jobs(folder, prefix), wait_s, every=_POLL_S):
            numbers = " ".join(job.number for job in _jobs(folder, prefix))
            raise BusyFolderError(
                f"{folder}: {wait_s} s after scancel SLURM still has jobs {numbers}, which may write. Nothing was "
                "unlocked.\n  Look at squeue --me, and call again when they are gone"
            )
        _tell(f"jobs cancelled and gone: {len(jobs)}")
    if steps := _steps(folder):
        end([step.pid for step in steps])
        if left := _steps(folder):
            raise BusyFolderError(
                f"{folder}: process {left[0].pid} ({left[0].step}) does not end; it may wait for a disk. Nothing was "
                "unlocked.\n  Call again when it is gone"
            )
        _tell(f"processes ended: {len(steps)}")


def _left_behind(folder: Path, prefix: str | None) -> list[str]:
    jobs = [f"SLURM job {job.number} ({job.state}): {job.what}" for job in _jobs(folder, prefix)]
    return jobs + [f"process {step.pid}: {step.step}, {step.origin.value}" for step in _steps(folder)]


def _jobs(folder: Path, prefix: str | None) -> list[QueuedJob]:
    return [] if prefix is None else jobs_of(folder, prefix)


def _steps(folder: Path) -> list[LooseStep]:
    return loose_steps(folder, [path.stem for path in _STAGES.glob("[a-z]*.py")])


def _unlock(words: Sequence[str], snakemake: int) -> None:
    done = subprocess.run(_with_flag(words, snakemake, "--unlock"), capture_output=True, text=True, check=False)
    if done.returncode:
        raise CellvitError(f"snakemake --unlock failed:\n{done.stdout}{done.stderr}")
    _tell("unlocked")


def _with_flag(words: Sequence[str], snakemake: int, flag: str) -> list[str]:
    """The command with a flag right after `snakemake`, before anything that could swallow it."""
    return [*words[: snakemake + 1], flag, *words[snakemake + 1 :]]


def _tell(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"recover: {line}\n")
