"""Parts of `status` that need no run; tests/workflow/test_seeing.py has the rest."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cellvit.commands.status import Begun

from cellvit.__main__ import main
from cellvit.workflow.joblog import read_job_log
from cellvit.workflow.timing_records import PlannedJob

JOB = PlannedJob("train_hovernet", "split1_all", threads=4, on_gpu=True)

ELSEWHERE = """\
03:44:14 INFO started step=train_hovernet pid=1 host=node7 at=2026-11-22T03:44:14+00:00
03:52:14 INFO epoch=3/50 rate=0.0002 {} tiles_per_s=48.1 seconds=31.8
"""


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    """A training on another machine, eight minutes after its start."""
    path = tmp_path / "split1_all.log"
    path.write_text(ELSEWHERE.format(" ".join(f"train_{part}=1.234" for part in "abcdefghijkl")))
    written = datetime(2026, 11, 22, 3, 52, 14, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    log = read_job_log(path)
    assert log is not None
    return Begun(JOB, log)


def test_a_job_on_another_machine_is_under_way_until_its_log_is_silent_for_long(begun: Begun) -> None:
    assert begun.is_under_way(begun.log.written + timedelta(minutes=6))
    assert not begun.is_under_way(begun.log.written + timedelta(hours=2))


def test_both_ends_of_a_long_line_are_shown(begun: Begun) -> None:
    head, line = begun.lines(begun.log.written + timedelta(seconds=5))

    assert head == "  train_hovernet/split1_all  started 8 min 05 s ago on node7, last line 0 min 05 s ago"
    assert "epoch=3/50" in line
    assert line.endswith("tiles_per_s=48.1 seconds=31.8")
    assert len(line) < 140


def test_what_is_left_of_a_training_goes_by_its_epochs(begun: Begun) -> None:
    left = begun.under_way(begun.log.written + timedelta(minutes=1))

    assert left.elapsed == 9 * 60
    assert left.left == 47 * 8 * 60 - 60


def test_arguments_are_snakemakes_for_status_alone(
    capsys: pytest.CaptureFixture[str], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)

    assert main(["status", "--cores", "1", "--nonsense"]) == 1
    assert "snakemake --cores 1 --nonsense" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["doctor", "--nonsense"])
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err
