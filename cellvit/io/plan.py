"""The jobs that are still to run, and on what: as a real `snakemake -n` says, or as the head of a run knows itself.

A dry run takes no lock, so that it works beside a run. Its text names jobs by their messages; the commands, which rules
write in one way, say step, log and threads.
"""

import contextlib
import io
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellvit.contracts.timings import Machine, PlannedJob
from cellvit.errors import CellvitError

_COMMAND: Final = re.compile(
    r"python -m cellvit (?P<step>\w+) .*(> |\| tee )(?P<results>\S+)/logs/(?P=step)/(?P<job>\S+)\.log( 2>&1)?$",
    re.MULTILINE,
)
"""Shell command of a job, as rules write it; what is for the user to read goes through tee."""

_THREADS: Final = re.compile(r" --threads (\d+) ")

_TABLE: Final = re.compile(r"^job +count\n[- ]+\n(.*?)^total", re.MULTILINE | re.DOTALL)
"""Jobs by rule, as a dry run counts them."""

_STAGES: Final = Path(__file__).parents[1] / "stages"

_DRY_RUN: Final = ("--nocolor", "--rerun-incomplete", "--quiet", "host", "reason", "-p", "-n")
"""Options that come last and so hold, whatever was given: every job with its command."""

_LAST: Final = 20
"""Lines of Snakemake's that are shown where it refuses."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that Snakemake would run, and the output folder that they would write to (None where there are none)."""

    jobs: tuple[PlannedJob, ...]
    results: Path | None


def planned(arguments: Sequence[str]) -> Plan:
    """What `snakemake -n` with these arguments would run.

    Raises:
        CellvitError: Snakemake refuses, or says what is not understood here.
    """
    targets = arguments.index("--") if "--" in arguments else len(arguments)
    command = ["snakemake", *arguments[:targets], *_DRY_RUN, *arguments[targets:]]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        last = "\n".join(said.strip().splitlines()[-_LAST:])
        raise CellvitError(f"`{' '.join(command)}` fails, and so would the run:\n{last}")
    commands, expected = list(_COMMAND.finditer(said)), _n_steps(said)
    if len(commands) != expected:
        raise CellvitError(
            f"`{' '.join(command)}` plans {expected} steps, of which {len(commands)} commands are understood. "
            "Rules write them as `python -m cellvit STEP ... > RESULTS/logs/STEP/JOB.log 2>&1`."
        )
    if not commands:
        return Plan((), None)
    return Plan(tuple(map(_planned_job, commands)), Path(_parsed(arguments).directory or "", commands[0]["results"]))


def machine_of(arguments: Sequence[str]) -> Machine | None:
    """What `snakemake` with these arguments, and the profile that they name, would run on; None where a cluster does."""
    parsed = _parsed(arguments)
    if parsed.executor not in {None, "local"}:
        return None
    gpus = (parsed.resources or {}).get("gpu")
    return Machine(int(parsed.cores or parsed.jobs or 1), None if gpus is None else int(gpus.value))


def planned_by(workflow: Any) -> tuple[PlannedJob, ...]:
    """What the head of a run is about to run; `workflow` is the global of that name in its Snakefile."""
    return tuple(
        PlannedJob(
            job.rule.name, _job_of(Path(job.benchmark), job.rule.name), job.threads, job.resources.get("gpu", 0) > 0
        )
        for job in workflow.dag.needrun_jobs()
        if job.benchmark
    )


def machine_under(workflow: Any) -> Machine | None:
    """What the head of a run has for its jobs; None where a cluster has."""
    gpus = workflow.global_resources.get("gpu")
    return Machine(workflow.cores, None if gpus is None else gpus.value) if workflow.local_exec else None


def _job_of(timing: Path, step: str) -> str:
    """Name of a job, which its benchmark file has below the folder of the step."""
    parts = timing.with_suffix("").parts
    return "/".join(parts[len(parts) - parts[::-1].index(step) :])


def _parsed(arguments: Sequence[str]) -> Namespace:
    """The arguments as Snakemake reads them, with its profile."""
    from snakemake.cli import parse_args  # takes a second

    with contextlib.redirect_stderr(io.StringIO()):  # it says which profile it takes
        _, parsed = parse_args([*arguments])
    assert isinstance(parsed, Namespace), parsed
    return parsed


def _n_steps(said: str) -> int:
    """Planned jobs that are steps of the graph; targets run no command."""
    table = _TABLE.search(said)
    rows = re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE) if table else []
    return sum(int(count) for rule, count in rows if (_STAGES / f"{rule}.py").is_file())


def _planned_job(match: re.Match[str]) -> PlannedJob:
    threads = _THREADS.search(match[0])
    return PlannedJob(match["step"], match["job"], int(threads[1]) if threads else 1, " --device " in match[0])
