"""What is still to run, and about how long: a job as long as when it ran last, else as the median of its step."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from cellvit.contracts.timings import JobTiming, Machine, PlannedJob, UnderWay
from cellvit.report.wording import duration

Source = Literal["own", "step", "epochs", "nothing"]


@dataclass(frozen=True, slots=True)
class Expected:
    """A planned job and what it is likely to take.

    Attributes:
        seconds: From now on; NaN where nothing is known.
        source: What they are taken from: the job's own last run, the median of its step, the epochs of a training that
            runs now, or nothing.
    """

    job: PlannedJob
    seconds: float
    source: Source

    @property
    def is_known(self) -> bool:
        """Whether there is anything to estimate by."""
        return self.source != "nothing"


@dataclass(frozen=True, slots=True)
class Remaining:
    """Jobs that are still to run, with what they are likely to take."""

    jobs: tuple[Expected, ...]

    @property
    def by_step(self) -> Mapping[str, tuple[Expected, ...]]:
        """Jobs of each step, in the order of their first ones."""
        steps = dict.fromkeys(expected.job.step for expected in self.jobs)
        return {step: tuple(expected for expected in self.jobs if expected.job.step == step) for step in steps}

    @property
    def unknown(self) -> Mapping[str, int]:
        """Jobs of which nothing is known, by step."""
        return Counter(expected.job.step for expected in self.jobs if not expected.is_known)

    @property
    def in_a_row(self) -> float:
        """Seconds of all known jobs, one after another."""
        return sum(expected.seconds for expected in self.jobs if expected.is_known)

    def seconds_on(self, machine: Machine) -> float:
        """Seconds of the known jobs on one machine: those that ask for a GPU, then the others.

        Each part takes as long as its longest job at least, as its cores ask for, and as its GPU steps take in a row on
        so many GPUs. What waits for what is not looked at: GPU steps and others hardly overlap, as the graph is a chain.
        """
        known = [expected for expected in self.jobs if expected.is_known]
        parts = ([one for one in known if one.job.on_gpu], [one for one in known if not one.job.on_gpu])
        return sum(_seconds_of_part(part, machine) for part in parts)


def remaining(
    jobs: Iterable[PlannedJob], timings: Sequence[JobTiming], under_way: Iterable[UnderWay] = ()
) -> Remaining:
    """What `jobs` are likely to take.

    Args:
        timings: Of earlier jobs.
        under_way: Those of `jobs` that run now: what they have had already is taken off.
    """
    own = {(timing.step, timing.job): timing.seconds for timing in timings}
    running = {(one.step, one.job): one for one in under_way}
    found = []
    for job in jobs:
        of_step = [timing.seconds for timing in timings if timing.step == job.step]
        key = job.step, job.job
        found.append(_expected(job, own.get(key), of_step, running.get(key)))
    return Remaining(tuple(found))


def estimate_line(left: Remaining, machine: Machine | None) -> str:
    """The estimate in one sentence, or two.

    Args:
        machine: None where a scheduler decides what runs side by side.
    """
    if not any(expected.is_known for expected in left.jobs):
        return "Estimate: unknown, as no job of these steps ran before in this output folder."
    if machine is None:
        said = f"Estimate: {duration(left.in_a_row)} one after another; how many run side by side is the scheduler's to say."
    else:
        said = f"Estimate: {duration(left.seconds_on(machine))} with {machine}, if jobs take as long as the last time."
    unknown = ", ".join(f"{n} of {step}" for step, n in left.unknown.items())
    return f"{said} Not in it, as none of their step ran before: {unknown}." if unknown else said


def _expected(job: PlannedJob, own: float | None, of_step: Sequence[float], running: UnderWay | None) -> Expected:
    if running is not None and not math.isnan(running.left):
        return Expected(job, running.left, "epochs")
    elapsed = 0.0 if running is None else running.elapsed
    if own is not None:
        return Expected(job, max(own - elapsed, 0.0), "own")
    if of_step:
        return Expected(job, max(median(of_step) - elapsed, 0.0), "step")
    return Expected(job, math.nan, "nothing")


def _seconds_of_part(part: Sequence[Expected], machine: Machine) -> float:
    cores = sum(one.seconds * min(one.job.threads, machine.cores) for one in part) / machine.cores
    on_gpu = sum(one.seconds for one in part if one.job.on_gpu)
    return max(cores, on_gpu / machine.gpus if machine.gpus else 0.0, *(one.seconds for one in part), 0.0)
