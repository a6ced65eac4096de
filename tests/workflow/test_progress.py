"""What a run prints while it runs, from the events that Snakemake logs."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from cellvit.workflow.progress import Progress


class Clock:
    """Seconds that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Run:
    """A logger with Snakemake's kind of handler on one terminal, and our progress on it."""

    def __init__(self, name: str, hidden: tuple[str, ...] = ()) -> None:
        self.terminal, self.clock = io.StringIO(), Clock()
        self.progress = Progress(self.terminal, self.clock, hidden=hidden)
        self.logger = logging.getLogger(name)
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False
        self.own = logging.StreamHandler(self.terminal)
        self.logger.handlers = [self.own, self.progress]
        self.own.filters.clear()

    def says(self, event: LogEvent, level: int = logging.INFO, **fields: object) -> None:
        self.logger.log(level, "Snakemake's own line", extra={"event": event, **fields})

    def starts(self, number: int, rule: str, title: str, log: list[str] | None = None) -> None:
        self.says(LogEvent.JOB_INFO, jobid=number, rule_name=rule, rule_msg=title, log=log or [f"{rule}.log"])

    def ends(self, number: int, done: int, total: int) -> None:
        self.says(LogEvent.JOB_FINISHED, job_id=number)
        self.says(LogEvent.PROGRESS, done=done, total=total)

    @property
    def lines(self) -> list[str]:
        return self.terminal.getvalue().splitlines()


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run of three trainings and an evaluation that has just started."""
    run = Run(f"snakemake.{request.node.name}", hidden=("gather_families",))
    run.says(LogEvent.RUN_INFO, stats={"train": 3, "evaluate": 1, "total": 4})
    run.progress.start(run.logger, "results/logs")
    yield run
    run.logger.handlers = []


def test_a_line_says_how_many_steps_are_done_and_what_starts(run: Run) -> None:
    run.starts(1, "train", "Train the decoder of family digestive, split 1")
    run.ends(1, 1, 4)
    run.starts(2, "train", "Train the decoder of family all, split 1")

    assert run.lines[-2].endswith("       0/4  Train the decoder of family digestive, split 1")
    assert run.lines[-1].endswith("       1/4  Train the decoder of family all, split 1")
    assert "results/logs" in run.lines[1]


def test_the_time_left_is_a_lower_limit_while_the_time_of_many_jobs_is_unknown(run: Run) -> None:
    run.starts(1, "train", "first")
    run.clock.seconds = 600
    run.ends(1, 1, 4)
    run.starts(2, "evaluate", "second")
    run.clock.seconds = 720
    run.ends(2, 2, 4)
    run.starts(3, "train", "third")

    assert run.lines[-2].endswith("second (over 20 min left)")
    assert run.lines[-1].endswith("third (about 20 min left)")


def test_a_short_lower_limit_is_not_shown_because_a_long_step_may_follow(run: Run) -> None:
    run.says(LogEvent.RUN_INFO, stats={"prepare": 3, "train": 2, "total": 5})
    run.clock.seconds = 100
    run.starts(1, "prepare", "first")
    run.clock.seconds = 120
    run.ends(1, 1, 5)
    run.starts(2, "prepare", "second")

    assert run.lines[-1].endswith("second"), "at least 40 s are left, of 120 s so far"


def test_jobs_that_run_at_the_same_time_share_the_time_left(run: Run) -> None:
    run.says(LogEvent.RUN_INFO, stats={"train": 3, "total": 3})
    run.starts(1, "train", "first")
    run.starts(2, "train", "second")
    run.clock.seconds = 600
    run.ends(1, 1, 3)
    run.ends(2, 2, 3)
    run.starts(3, "train", "third")

    assert run.lines[-1].endswith("third (about 5 min left)")


def test_a_long_step_says_how_far_it_is_and_says_it_once(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    run.starts(1, "train", "Train it", [str(log)])
    run.progress.show_running()
    before = len(run.lines)
    log.write_text("12:00:00 INFO step=100/600 epochs=2\n12:01:00 INFO step=200/600 epochs=4\nnot a line of the log\n")

    for run.clock.seconds in (60, 120, 240):
        run.progress.show_running()
    run.ends(1, 1, 4)
    run.progress.show_running()

    assert [line[20:] for line in run.lines[before:]] == ["Train it: step=200/600 epochs=4"]


def test_a_failed_job_is_shown_at_once_with_the_error_of_its_log(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("12:00:00 INFO step=train\nerror: a.h5: expected 3 rows, found 2. Fix: run it again\n")
    run.starts(1, "train", "Train it", [str(log)])
    run.says(LogEvent.JOB_ERROR, logging.ERROR, jobid=1)

    assert run.lines[-2].endswith("FAILED: Train it")
    assert run.lines[-1].strip() == "error: a.h5: expected 3 rows, found 2. Fix: run it again"
    assert [job.title for job in run.progress.failed.values()] == ["Train it"]


def test_a_job_that_succeeds_when_it_is_tried_again_has_not_failed(run: Run) -> None:
    run.starts(1, "train", "Train it")
    run.says(LogEvent.JOB_ERROR, logging.ERROR, jobid=1)
    run.starts(1, "train", "Train it")
    run.ends(1, 1, 4)

    assert run.progress.failed == {}


def test_very_short_jobs_and_targets_are_counted_but_not_shown(run: Run) -> None:
    before = run.lines
    run.starts(1, "gather_families", "List the tiles")
    run.says(LogEvent.JOB_INFO, jobid=2, rule_name="report", rule_msg="All products of the run", log=[])
    run.ends(1, 1, 4)

    assert run.lines == before
    assert run.progress.done == 1


def test_warnings_of_snakemake_stay_and_its_other_lines_go(run: Run) -> None:
    run.logger.info("Select jobs to execute...")
    run.logger.warning("The disk is nearly full")
    run.logger.error("Exiting because a job execution failed. Look above for error messages")

    assert run.lines[-1] == "The disk is nearly full"
    assert not any("Select jobs" in line for line in run.lines)


def test_a_user_who_asks_for_all_messages_gets_those_of_snakemake(request: pytest.FixtureRequest) -> None:
    run = Run(f"snakemake.{request.node.name}")
    run.logger.setLevel(logging.DEBUG)
    run.progress.start(run.logger, "results/logs")

    run.starts(1, "train", "Train it")

    assert run.lines == ["Snakemake's own line"]


def test_what_quiet_silences_is_silent_here_too(request: pytest.FixtureRequest) -> None:
    run = Run(f"snakemake.{request.node.name}")
    run.own.addFilter(lambda record: getattr(record, "event", None) != LogEvent.JOB_INFO)
    run.progress.start(run.logger, "results/logs")
    before = run.lines

    run.starts(1, "train", "Train it")

    assert run.lines == before


def test_lines_are_cut_at_100_columns(run: Run) -> None:
    run.starts(1, "train", "Train " + "x" * 200)

    assert len(run.lines[-1]) == 100
    assert run.lines[-1].endswith("...")
