"""What is seen of a run: its logs, its messages, `status` before, beside and after it, and Snakemake's own report."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from workshop import Workshop

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ARGUMENTS = ("--configfile", "small.yaml", "--workflow-profile", "profiles/default")

LOOPS = {
    "prepare_fold/fold1": ("painted fold=1 tiles",),
    "extract_features/fold1": ("features extracted tiles",),
    "check_features/fold1": ("features read tiles",),
    "check_targets/all": ("oracle judged method=hovernet tiles", "oracle judged method=hv_flow tiles"),
    "tune_watershed/split1_digestive": (" tiles",),
    "evaluate_family/split1_digestive": (
        "mapped training tiles",
        *(f"judged system={system} tiles" for system in ("decoder", "pooled", "classical", "oracle")),
    ),
    "build_report/report": ("galleries drawn decoders",),
}


def status(workshop: Workshop, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cellvit", "status", *ARGUMENTS, "--cores", "2", *arguments]
    return subprocess.run(command, cwd=workshop.home, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("job", LOOPS)
def test_the_log_of_every_long_step_says_how_far_it_is(finished: Workshop, job: str) -> None:
    text = (finished.results / "logs" / f"{job}.log").read_text()

    for words in LOOPS[job]:
        assert re.search(rf"{words}=(\d+) of=\1 \w+_per_s=\S+ left=0:00:00$", text, re.MULTILINE), words


def test_the_first_line_of_every_log_says_which_process_writes_it(finished: Workshop) -> None:
    logs = list((finished.results / "logs").rglob("*.log"))

    assert logs
    for path in logs:
        assert f"started step={path.parent.name} pid=" in path.read_text().splitlines()[0], path


def test_messages_say_what_and_how_much(finished: Workshop) -> None:
    said = finished.snakemake("-n", "--forceall").stdout

    for message in (
        "Frozen features of fold 1: 5 tiles",
        "HoVer-Net decoder of family digestive, split 1: 2 epochs of 3 tiles",
        "OrganHead of split 1: 5 epochs of 5 tiles",
        "Targets of family all against the oracle: 12 tiles",
        "Watershed parameters of family glandular, split 1, on validation: 1 tile",
        "Family all on the test folds of split 1: 4 tiles",
        "Test folds of split 1, organ predicted by OrganHead: 4 tiles",
    ):
        assert re.search(rf": {re.escape(message)}$", said, re.MULTILINE), message


def test_before_the_first_run_sizes_and_times_are_unknown_and_not_zero(finished: Workshop) -> None:
    done = status(finished, "--config", "results=never")
    messages = finished.snakemake("-n", "--config", "results=never").stdout

    assert done.returncode == 0, done.stderr
    assert re.search(r"^train_hovernet +5 +unknown +unknown +never run before$", done.stdout, re.MULTILINE)
    assert "Estimate: unknown" in done.stdout
    assert " 0 min" not in done.stdout
    assert "Frozen features of fold 1: all its tiles" in messages


def test_status_of_a_finished_run_has_nothing_to_say(finished: Workshop) -> None:
    assert status(finished).stdout.startswith("Nothing to be done")


def test_status_names_what_a_changed_setting_reruns_and_how_long_it_took(finished: Workshop) -> None:
    done = status(finished, "--config", "training={'learning_rate': 0.002}")

    rows = dict(re.findall(r"^(\w+) +(\d+) +\d+ min \d\d s +\d+ min \d\d s +the last time$", done.stdout, re.MULTILINE))
    assert rows["train_hovernet"] == rows["tune_watershed"] == rows["evaluate_family"] == "5"
    assert "extract_features" not in rows
    estimate = re.search(
        r"^Estimate: (\d+) min (\d\d) s with 2 cores and 1 GPU step at a time", done.stdout, re.MULTILINE
    )
    assert estimate, done.stdout
    assert int(estimate[1]) * 60 + int(estimate[2]) > 0


def test_status_takes_targets_and_other_options_of_snakemake(finished: Workshop) -> None:
    forced = ("--forcerun", "results/watershed/split1/digestive.json", "--", "results/watershed/split1/digestive.json")

    done = status(finished, *forced)

    assert done.stdout.startswith("1 job to run at most")
    assert re.search(r"^tune_watershed +1 ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("target", ["archive", "clean_features"])
def test_status_understands_the_steps_that_speak_to_the_user(finished: Workshop, target: str) -> None:
    done = status(finished, "--", target)

    assert re.search(rf"^{target} +1 +\S", done.stdout, re.MULTILINE), done.stderr


def test_a_cluster_is_promised_no_parallelism(finished: Workshop) -> None:
    done = status(finished, "--executor", "slurm", "--jobs", "4", "--forcerun", "summarize")

    assert "one after another; how many run side by side is the scheduler's to say" in done.stdout, done.stderr
    assert "cores" not in done.stdout


def test_a_run_begins_with_its_estimate_and_leaves_reasons_out(finished: Workshop) -> None:
    done = finished.snakemake("--cores", "2", "--forcerun", "build_report")
    planned, asked = finished.snakemake("-n", "--forceall"), finished.snakemake("-n", "--forceall", "--quiet", "host")

    assert done.returncode == 0, done.stderr[-4000:]
    assert re.search(r"^Estimate: \d+ min \d\d s with 2 cores and 1 GPU step at a time", done.stderr, re.MULTILINE)
    assert "Reason: " not in done.stderr + planned.stdout
    assert "Reason: Forced execution" in asked.stdout


def test_a_failed_step_is_told_with_its_log_and_status_knows_it(finished: Workshop) -> None:
    shutil.copytree(finished.home / "raw" / "Fold 3", finished.home / "broken" / "Fold 3")
    np.save(next((finished.home / "broken").rglob("patients.npy")), np.array(["p1"]))
    broken = ("--config", "data={'root': 'broken'}", "results=failing", "--", "failing/tiles/fold3.h5")

    done = finished.snakemake("--cores", "2", *broken)
    told = status(finished, *broken).stdout

    assert done.returncode != 0
    assert "Error in rule prepare_fold" in done.stderr
    assert "patients.npy: expected names of patients (4,)" in done.stderr
    assert "python -m cellvit status" in done.stderr
    assert "Under way" not in told
    assert re.search(r"Stopped before their end.*\n  prepare_fold/fold3  started .* ago on ", told)


@pytest.fixture
def head(finished: Workshop) -> Iterator[tuple[subprocess.Popen[str], Path, tuple[str, ...]]]:
    """A Snakemake that simulates a large fold meanwhile; the log of that, and the arguments of the run."""
    (finished.home / "large.yaml").write_text(
        "data: {root: null, simulated: {tiles_per_fold: 2000}}\nresults: watched\n"
    )
    arguments = ("--configfile", "small.yaml", "large.yaml", "--", "watched/tiles/fold1.h5")
    command = ["snakemake", "--workflow-profile", "profiles/default", "--cores", "2", *arguments]
    log = finished.home / "watched/logs/simulate_pannuke/fold1.log"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(command, cwd=finished.home, text=True, start_new_session=True, **quiet)
    try:
        while not log.exists() or "started" not in log.read_text():
            assert running.poll() is None, "it ended before it was seen"
            time.sleep(0.2)
        yield running, log, arguments
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        shutil.rmtree(finished.home / "watched")


def test_status_beside_a_running_head_says_what_runs_and_after_a_kill_what_stopped(
    finished: Workshop, head: tuple[subprocess.Popen[str], Path, tuple[str, ...]]
) -> None:
    running, _, arguments = head

    beside = status(finished, *arguments)
    still = running.poll()
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    after = status(finished, *arguments)

    assert still is None, "the head went on"
    assert beside.returncode == 0, beside.stderr
    assert re.search(r"^Under way:\n  simulate_pannuke/fold1  started \d+ min", beside.stdout, re.MULTILINE)
    assert "Stopped" not in beside.stdout
    assert re.search(r"^Stopped before their end.*\n  simulate_pannuke/fold1  ", after.stdout, re.MULTILINE), (
        after.stderr
    )


def test_snakemakes_report_is_made_without_network_with_its_categories(finished: Workshop) -> None:
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "http_proxy": nowhere, "https_proxy": nowhere}
    command = ["snakemake", *ARGUMENTS, "--report", "snakemake_report.html"]

    done = subprocess.run(command, cwd=finished.home, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    page = (finished.home / "snakemake_report.html").read_text()
    assert '"Summary"' in page
    assert '"Evaluation"' in page
    assert "page of the run" in page
    assert "Family digestive on the test folds of split 1" in page
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)\s*=\s*["']https?:""", page)
