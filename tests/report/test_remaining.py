import math

import pytest
from cellvit.report.remaining import estimate_line, remaining

from cellvit.workflow.timing_records import JobTiming, Machine, PlannedJob, UnderWay

NAN = math.nan

EARLIER = (
    JobTiming("train_hovernet", "split1_digestive", 600.0, NAN, NAN),
    JobTiming("train_hovernet", "split1_epidermal", 2.0, NAN, NAN),
    JobTiming("train_hovernet", "split1_all", 1200.0, NAN, NAN),
    JobTiming("check_targets", "digestive", 90.0, NAN, NAN),
)


def training(job: str) -> PlannedJob:
    return PlannedJob("train_hovernet", job, threads=1, on_gpu=True)


CHECK = PlannedJob("check_targets", "digestive", threads=2, on_gpu=False)
NEVER = PlannedJob("summarize", "summary", threads=1, on_gpu=False)


def test_a_job_takes_as_long_as_the_last_time_or_as_the_median_of_its_step() -> None:
    own, other = remaining([training("split1_all"), training("split2_all")], EARLIER).jobs

    assert (own.seconds, own.source) == (1200, "own")
    assert (other.seconds, other.source) == (600, "step")


def test_a_step_that_never_ran_is_unknown_and_not_zero() -> None:
    left = remaining([CHECK, NEVER], EARLIER)

    assert math.isnan(left.jobs[1].seconds)
    assert left.unknown == {"summarize": 1}
    assert estimate_line(left, Machine(2, 1)) == (
        "Estimate: 1 min 30 s with 2 cores and 1 GPU step at a time, if jobs take as long as the last time. "
        "Not in it, as none of their step ran before: 1 of summarize."
    )


def test_where_nothing_is_known_the_estimate_says_so() -> None:
    assert "unknown" in estimate_line(remaining([NEVER], EARLIER), Machine(2, 1))


@pytest.mark.parametrize(
    ("machine", "seconds"),
    [
        pytest.param(Machine(4, 1), 1800 + 90, id="gpu_steps_in_a_row"),
        pytest.param(Machine(4, 2), 1200 + 90, id="not_shorter_than_the_longest"),
        pytest.param(Machine(1, 2), 1800 + 90, id="one_core_for_two_gpus"),
        pytest.param(Machine(2, None), 1200 + 90, id="bound_by_cores_alone"),
    ],
)
def test_gpu_steps_run_in_a_row_and_others_as_cores_allow(machine: Machine, seconds: float) -> None:
    left = remaining([training("split1_digestive"), training("split1_all"), CHECK], EARLIER)

    assert left.seconds_on(machine) == seconds


def test_others_side_by_side_share_the_cores() -> None:
    checks = [PlannedJob("check_targets", name, threads=2, on_gpu=False) for name in ("digestive", "a", "b")]

    assert remaining(checks, EARLIER).seconds_on(Machine(4, 1)) == 3 * 90 * 2 / 4


def test_what_a_running_job_has_had_is_taken_off() -> None:
    running = [UnderWay("train_hovernet", "split1_all", 500.0, NAN), UnderWay("check_targets", "digestive", 100.0, NAN)]

    training_left, check_left = remaining([training("split1_all"), CHECK], EARLIER, running).jobs

    assert training_left.seconds == 700
    assert check_left.seconds == 0


def test_a_running_training_is_believed_by_its_epochs_also_the_first_time() -> None:
    running = [UnderWay("train_hovernet", "split1_all", 500.0, 4000.0)]

    for earlier in (EARLIER, ()):
        (left,) = remaining([training("split1_all")], earlier, running).jobs
        assert (left.seconds, left.source) == (4000, "epochs")


def test_a_scheduler_decides_itself_what_runs_side_by_side() -> None:
    line = estimate_line(remaining([training("split1_all"), CHECK], EARLIER), None)

    assert line.startswith("Estimate: 21 min 30 s one after another")
    assert "core" not in line


def test_steps_keep_the_order_in_which_they_run() -> None:
    left = remaining([CHECK, training("split1_all"), NEVER, training("split1_digestive")], EARLIER)

    assert list(left.by_step) == ["check_targets", "train_hovernet", "summarize"]
    assert [one.job.job for one in left.by_step["train_hovernet"]] == ["split1_all", "split1_digestive"]
