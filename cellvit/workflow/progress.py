"""What a run says while it runs: steps done, what starts, the time left, and the error of a step that fails.

Snakemake announces its jobs as events on its logger, in the public format of its logger plugins. `Progress` shows them as one
line per step, in place of several lines per job from Snakemake itself, which its own log file keeps.
"""

import logging
import re
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from textwrap import indent
from typing import Any, Final, TextIO

from snakemake_interface_logger_plugins.common import LogEvent

from cellvit.workflow.ending import COLUMNS, duration, error_in

_INDENT: Final = " " * 20

_SHORT_S: Final = 10
"""Times left that are not shown: below, too little is known."""

_UNKNOWN: Final = 0.25
"""Share of jobs of steps of which none is done, above which the time left is a lower limit."""

_WORTH_SAYING: Final = 0.5
"""Share of the time so far below which a lower limit is not shown: a short one before a long training would mislead."""

_BEAT_S: Final = 120.0
"""Seconds between two looks at the logs of steps that have run as long."""

_LOGGED: Final = re.compile(rb"^\d\d:\d\d:\d\d (?:INFO|WARNING) (.+)$", re.MULTILINE)
"""A line of the log of a step, and its message."""

_LOG_END: Final = 4096
"""Bytes at the end of a log in which its last line is."""

_REPEATED: Final = (
    "CalledProcessError in file",
    "Exiting because a job execution failed",
    "At least one job did not complete successfully",
)
"""What Snakemake says about failed jobs; `failure_lines` says it in one place, with the error of the step."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that started.

    Attributes:
        title: What it does, in words.
        log: Its log file.
        started: When, by the clock of `Progress`.
    """

    rule: str
    title: str
    log: Path | None
    started: float


class Progress(logging.Handler):
    """Prints the progress of a run from `start` on.

    Attributes:
        done: Jobs that are done, of `total`.
        failed: Jobs that failed, by number; one that succeeds when it is tried again is removed.

    Args:
        stream: Where to print.
        now: Clock, in seconds.
        hidden: Rules with many very short jobs, which are counted but not shown.
    """

    def __init__(
        self, stream: TextIO = sys.stderr, now: Callable[[], float] = time.monotonic, *, hidden: Collection[str] = ()
    ) -> None:
        super().__init__()
        self._hidden = hidden
        self.done = self.total = 0
        self.failed: dict[int, Job] = {}
        self._stream, self._now = stream, now
        self._started, self._shows = now(), False
        self._planned: Counter[str] = Counter()
        self._running: dict[int, Job] = {}
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._said: dict[Job, str] = {}

    def start(self, logger: logging.Logger, logs: str) -> None:
        """Take the place of Snakemake's own lines on the terminal; its warnings and errors stay.

        Nothing is shown where the user chose ``--verbose`` or another logger plugin; ``--quiet`` holds here too.

        Args:
            logs: Folder with the logs of all steps.
        """
        streams = [one for one in logger.handlers if isinstance(one, logging.StreamHandler)]
        terminal = [one for one in streams if not isinstance(one, logging.FileHandler)]
        self._started = self._now()
        if not terminal or logger.isEnabledFor(logging.DEBUG):
            return
        for handler in terminal:
            self.filters += handler.filters
            handler.addFilter(_is_warning)
        self._shows = True
        threading.Thread(target=self._beat, daemon=True).start()
        self._print(f"logs: {logs}; Ctrl-C stops the run, and the same command resumes it")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._now() - self._started

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event of Snakemake."""
        event = record.__dict__
        match event.get("event"):
            case LogEvent.RUN_INFO:
                self._planned = Counter(event["stats"])
                self.total = self._planned.pop("total", 0)
            case LogEvent.JOB_INFO:
                self._begin(event)
            case LogEvent.JOB_FINISHED:
                self._end(event["job_id"])
            case LogEvent.PROGRESS:
                self.done, self.total = event["done"], event["total"]
            case LogEvent.JOB_ERROR:
                self._fail(event["jobid"])

    def left(self) -> str:
        """The time left in words, from the jobs that are done; empty where they say too little.

        It is a lower limit as long as many of the jobs are of steps of which none is done.
        """
        means = {rule: fmean(seconds) for rule, seconds in self._seconds.items()}
        to_do = self._planned - Counter({rule: len(seconds) for rule, seconds in self._seconds.items()})
        if not means:
            return ""
        now = self._now()
        running = [(means.get(job.rule, 0.0), now - job.started) for job in self._running.values()]
        work = sum(means.get(rule, 0.0) * count for rule, count in to_do.items())
        work -= sum(min(mean, seconds) for mean, seconds in running)
        busy = sum(map(sum, self._seconds.values())) + sum(seconds for _, seconds in running)
        at_once = max(busy / max(self.elapsed_s, 1e-9), 1.0)
        seconds = work / at_once
        unknown = sum(count for rule, count in to_do.items() if rule not in means)
        is_limit = unknown > _UNKNOWN * to_do.total()
        if seconds < (max(_SHORT_S, _WORTH_SAYING * self.elapsed_s) if is_limit else _SHORT_S):
            return ""
        return f"{'over' if is_limit else 'about'} {duration(seconds)} left"

    def show_running(self) -> None:
        """Print how far each long step is, by the last line of its log, if this line is new."""
        for job in list(self._running.values()):
            if job.log is None or job.rule in self._hidden or self._now() - job.started < _BEAT_S:
                continue
            message = _last_message(job.log)
            if message and self._said.get(job) != message:
                self._print(f"{job.title}: {message}")
            self._said[job] = message

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT_S)
            self.show_running()

    def _begin(self, event: Mapping[str, Any]) -> None:
        log = Path(event["log"][0]) if event["log"] else None
        job = Job(event["rule_name"], event["rule_msg"] or event["rule_name"], log, self._now())
        self._running[event["jobid"]] = job
        if log and job.rule not in self._hidden:  # a target has no log
            left = self.left()
            self._print(job.title, f" ({left})" if left else "")

    def _end(self, number: int) -> None:
        self.failed.pop(number, None)
        if job := self._running.pop(number, None):
            self._seconds[job.rule].append(self._now() - job.started)

    def _fail(self, number: int) -> None:
        if job := self._running.pop(number, None):
            self.failed[number] = job
            self._print(f"FAILED: {job.title}")
            self._write(indent("\n".join(error_in(job.log)), _INDENT))

    def _print(self, text: str, after: str = "") -> None:
        begin = f"{time.strftime('%H:%M:%S')} {f'{self.done}/{self.total}':>9}  "
        room = COLUMNS - len(begin) - len(after)
        self._write(f"{begin}{text if len(text) <= room else f'{text[: room - 3]}...'}{after}")

    def _write(self, text: str) -> None:
        if self._shows:
            self._stream.write(f"{text}\n")
            self._stream.flush()


def _last_message(log: Path) -> str:
    """The last message of a step; empty if it has logged none, or its log cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            messages = _LOGGED.findall(file.read())
    except OSError:
        return ""
    return messages[-1].decode(errors="replace") if messages else ""


def _is_warning(record: logging.LogRecord) -> bool:
    """True for what Snakemake still says itself: warnings, and errors that are not about a job."""
    of_job = getattr(record, "event", None) == LogEvent.JOB_ERROR
    repeated = of_job or any(text in record.getMessage() for text in _REPEATED)
    return record.levelno >= logging.WARNING and not repeated
