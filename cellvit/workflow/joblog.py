"""What a step's log says of its job: a line when it starts, one about the GPU when it ends, and the last one there is."""

import logging
import math
import os
import re
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_STARTED: Final = re.compile(
    r"started step=(?P<step>\w+) pid=(?P<pid>\d+) host=(?P<host>\S+) at=(?P<at>\S+)$", re.MULTILINE
)
_GPU: Final = re.compile(r"gpu peak_mb=(?P<peak>\d+) of=\d+ device=.+$", re.MULTILINE)
_EPOCH: Final = re.compile(r" epoch=(?P<done>\d+)/(?P<all>\d+) ")

_PROCESSES: Final = Path("/proc")
"""Where Linux shows processes; other systems have none."""


@dataclass(frozen=True, slots=True)
class JobLog:
    """The log of a job that has started.

    Attributes:
        last_line: What it said last.
        written: When it did.
        ends: When a training ends that goes on at the pace of its epochs so far; None where the log names none.
    """

    step: str
    pid: int
    host: str
    started: datetime
    last_line: str
    written: datetime
    ends: datetime | None

    @property
    def is_alive(self) -> bool | None:
        """Whether the process is there; None where it cannot be seen: on another machine, or without /proc."""
        if self.host != socket.gethostname() or not _PROCESSES.is_dir():
            return None
        try:
            words = (_PROCESSES / str(self.pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return self.step.encode() in words


def log_start(step: str) -> None:
    """Log which process runs the step, where and since when."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    log.info("started step=%s pid=%d host=%s at=%s", step, os.getpid(), socket.gethostname(), now)


def log_gpu_memory() -> None:
    """Log the most memory that torch held on its GPU; nothing where this process did not use CUDA.

    Snakemake's benchmark files leave the GPU out. What torch held is more than what tensors filled, and is what must
    fit; the CUDA context, some hundred MB, is not in it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    peak = torch.cuda.max_memory_reserved()
    log.info("gpu peak_mb=%d of=%d device=%s", peak >> 20, device.total_memory >> 20, device.name)


def read_job_log(path: Path) -> JobLog | None:
    """What the log says; None where there is none, or its step did not get so far as to start."""
    text = _text(path)
    started = _STARTED.search(text)
    if started is None:
        return None
    at = datetime.fromisoformat(started["at"])
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return JobLog(
        step=started["step"],
        pid=int(started["pid"]),
        host=started["host"],
        started=at,
        last_line=text.rstrip().splitlines()[-1],
        written=written,
        ends=_end_by_epochs(text, at, written),
    )


def gpu_peak_mb(path: Path) -> float:
    """Peak of the GPU's memory in MiB, as the log says at its end; NaN where it does not."""
    said = list(_GPU.finditer(_text(path)))
    return float(said[-1]["peak"]) if said else math.nan


def _end_by_epochs(text: str, started: datetime, written: datetime) -> datetime | None:
    epochs = list(_EPOCH.finditer(text))
    if not epochs:
        return None
    to_go = int(epochs[-1]["all"]) - int(epochs[-1]["done"])
    return written + (written - started) / len(epochs) * to_go  # a resumed training's log begins in the middle


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
