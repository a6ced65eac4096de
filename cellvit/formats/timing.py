"""Time, memory and machine of a job, written by the run that computed it; a reused result brings the timing of that run along."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from cellvit.errors import ContractError
from cellvit.formats.atomic import write_text
from cellvit.formats.digests import missing, remake
from cellvit.formats.documents import Number, Record

UNKNOWN: Final = "unknown"


class Machine(Record):
    """What computed a job, as far as it could be found out.

    Attributes:
        commit: Git commit of the code, with -dirty if files differed from it.
        gpu: Model of the GPU; "none" where the job computed on the CPU.
        driver: Version of its driver.
        software: Version of each package that can change a value, and of Python.
    """

    commit: str = UNKNOWN
    gpu: str = UNKNOWN
    driver: str = UNKNOWN
    software: dict[str, str] = Field(default_factory=dict)


class Timing(Record):
    """What one job took.

    Attributes:
        step: Name of the step.
        job: Name of the job among those of its step, as that of its log.
        seconds: Wall time of the computation.
        memory_mb: Peak memory of the process on the host, in MiB, with that of its largest worker.
        gpu_mb: Peak memory that torch held on the GPU, in MiB; NaN where none was used.
        machine: What computed it.
    """

    format: Literal["cellvit-timing"] = "cellvit-timing"
    step: str
    job: str
    seconds: float
    memory_mb: float
    gpu_mb: Number = math.nan
    machine: Machine = Machine()


def write_timing(path: Path, timing: Timing) -> None:
    """Write a timing as JSON."""
    write_text(path, timing.model_dump_json(indent=1) + "\n")


def read_timings(paths: Sequence[Path]) -> tuple[Timing, ...]:
    """The timings at `paths`, in that order.

    Raises:
        MissingInputError: A file does not exist.
        ContractError: A file is not a timing.
    """
    timings = []
    for path in paths:
        if not path.exists():
            raise missing(path)
        try:
            timings.append(Timing.model_validate_json(path.read_text(encoding="utf-8")))
        except ValueError as error:  # of pydantic, or of the decoding of text
            raise ContractError(f"{path}: this is not a timing ({error}). Fix: {remake(path)}") from error
    return tuple(timings)
