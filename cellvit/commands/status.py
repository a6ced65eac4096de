"""Command `status`: say what is still to run, about how long it takes, what runs now and what stopped.

Takes any arguments of `snakemake` (targets, --configfile, --workflow-profile).
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cellvit.contracts.timings import PlannedJob, UnderWay
from cellvit.io.joblog import JobLog, read_job_log
from cellvit.io.plan import machine_of, planned
from cellvit.io.timings import LOGS, TIMINGS, read_timings
from cellvit.report.remaining import Expected, Remaining, Source, estimate_line, remaining
from cellvit.report.wording import duration

_SOURCES: Final[Mapping[Source, str]] = MappingProxyType(
    {
        "own": "the last time",
        "step": "the median of the step",
        "epochs": "its epochs so far",
        "nothing": "never run before",
    }
)

_SILENT: Final = timedelta(minutes=30)
"""A process that cannot be seen counts as ended when its log is silent for so long; long steps speak every five minutes."""

_BEGIN, _END = 80, 40
"""Characters shown of a long line's two ends: a training's line begins with the epoch and ends with the rate."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A planned job that has started, with its log."""

    job: PlannedJob
    log: JobLog

    def is_under_way(self, now: datetime) -> bool:
        """Whether its process is there; where that cannot be seen, whether its log was written lately."""
        alive = self.log.is_alive
        return now - self.log.written < _SILENT if alive is None else alive

    def under_way(self, now: datetime) -> UnderWay:
        """What it has had, and what its log gives it."""
        left = math.nan if self.log.ends is None else max((self.log.ends - now).total_seconds(), 0.0)
        return UnderWay(self.job.step, self.job.job, (now - self.log.started).total_seconds(), left)

    def lines(self, now: datetime) -> tuple[str, str]:
        """Its name with since when and where, and below it what its log said last."""
        since, said = (duration((now - then).total_seconds()) for then in (self.log.started, self.log.written))
        head = f"  {self.job.step}/{self.job.job}  started {since} ago on {self.log.host}, last line {said} ago"
        return head, f"    {_shortened(self.log.last_line)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare that every argument is Snakemake's."""
    parser.usage = "python -m cellvit status [arguments of snakemake]"
    parser.set_defaults(passed_on=[])


def run(args: argparse.Namespace) -> None:
    """Print what is to run, the estimate, and what is under way."""
    plan = planned(args.passed_on)
    if plan.results is None:
        sys.stdout.write("Nothing to be done: no step would run.\n")
        return
    now = datetime.now(UTC)
    begun = _begun(plan.results, plan.jobs)
    running = [one for one in begun if one.is_under_way(now)]
    left = remaining(plan.jobs, read_timings(plan.results / TIMINGS), [one.under_way(now) for one in running])
    n_jobs = "1 job" if len(plan.jobs) == 1 else f"{len(plan.jobs)} jobs"
    lines = [f"{n_jobs} to run at most: a step that makes the same again ends its line.", ""]
    lines += [*_table(left), "", estimate_line(left, machine_of(args.passed_on))]
    lines += _section("Under way:", running, now)
    lines += _section("Stopped before their end (failed or killed):", [one for one in begun if one not in running], now)
    sys.stdout.write("\n".join(lines) + "\n")


def _begun(results: Path, jobs: Sequence[PlannedJob]) -> list[Begun]:
    """Jobs that have started and not ended since: when a job has ended, its times are written after its log."""
    found = []
    for job in jobs:
        log = read_job_log(results / LOGS / job.step / f"{job.job}.log")
        ended = results / TIMINGS / job.step / f"{job.job}.tsv"
        if log is not None and not (ended.exists() and ended.stat().st_mtime >= log.written.timestamp()):
            found.append(Begun(job, log))
    return found


def _table(left: Remaining) -> list[str]:
    rows = [("step", "jobs", "a job", "together", "as long as")]
    rows += [_row(step, jobs) for step, jobs in left.by_step.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(step: str, jobs: Sequence[Expected]) -> tuple[str, str, str, str, str]:
    known = [one.seconds for one in jobs if one.is_known]
    times = (duration(sum(known) / len(known)), duration(sum(known))) if known else ("unknown", "unknown")
    sources = Counter(_SOURCES[one.source] for one in jobs)
    source = ", ".join(f"{name} ({n})" for name, n in sources.items()) if len(sources) > 1 else next(iter(sources))
    return step, str(len(jobs)), *times, source


def _section(heading: str, begun: Sequence[Begun], now: datetime) -> list[str]:
    return ["", heading, *(line for one in begun for line in one.lines(now))] if begun else []


def _shortened(line: str) -> str:
    return line if len(line) <= _BEGIN + _END else f"{line[:_BEGIN]} ... {line[-_END:]}"
