"""Records of what jobs took, of jobs that are still to run, and of what runs them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobTiming:
    """What a job took when it ran last.

    Attributes:
        job: Name of the job among those of its step: that of its log.
        seconds: Wall time.
        memory_mb: Peak on the host, in MiB; NaN where the job was too short to be measured.
        gpu_mb: Peak on the GPU, in MiB; NaN where it used none, or its log does not say.
    """

    step: str
    job: str
    seconds: float
    memory_mb: float
    gpu_mb: float


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job that Snakemake would start.

    Attributes:
        job: As in `JobTiming`.
        on_gpu: Whether it asks for a GPU, which Snakemake counts, also where there is none.
    """

    step: str
    job: str
    threads: int
    on_gpu: bool


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A planned job that runs now.

    Attributes:
        elapsed: Seconds since it started.
        left: Seconds that its log gives it (a training names its epochs); NaN where it does not say.
    """

    step: str
    job: str
    elapsed: float
    left: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What runs side by side.

    Attributes:
        gpus: GPU steps at a time; None where nothing bounds them but the cores.
    """

    cores: int
    gpus: int | None

    def __str__(self) -> str:
        gpus = "" if self.gpus is None else f" and {self.gpus} GPU step{'s' if self.gpus > 1 else ''} at a time"
        return f"{self.cores} core{'s' if self.cores > 1 else ''}{gpus}"
