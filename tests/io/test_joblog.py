import math
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from cellvit.config.settings import Settings
from cellvit.config.steps import step_settings
from cellvit.workflow.joblog import gpu_peak_mb, read_job_log

STARTED = "03:44:14 INFO started step=train_hovernet pid=4194305 host={host} at=2026-11-22T03:44:14+00:00\n"

TRAINED_ON_A_GPU = (
    STARTED.format(host="node7")
    + """\
03:44:14 INFO this step has a GPU for itself gpu=0 NVIDIA H100 80GB HBM3 GPU-5d1b
03:44:20 INFO tiles train=731 validate=702 device=cuda
03:44:52 INFO epoch=1/50 rate=0.0002 train_total=12.6 validate_bpq=0.31 tiles_per_s=48.1 seconds=31.8
03:45:23 INFO epoch=2/50 rate=0.0004 train_total=10.1 validate_bpq=0.35 tiles_per_s=48.6 seconds=31.2
03:45:24 INFO gpu peak_mb=8466 of=81559 device=NVIDIA H100 80GB HBM3
"""
)

ON_THE_GPU = """
import sys, torch
from cellvit.workflow.joblog import log_gpu_memory
import logging
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
torch.zeros(64 << 20, device="cuda")
log_gpu_memory()
"""


def simulation(root: Path, tiles: int) -> list[str]:
    settings = step_settings(
        Settings.model_validate({"data": {"root": None, "simulated": {"tiles_per_fold": tiles}}}), "simulate_pannuke"
    )
    return [
        sys.executable,
        "-m",
        "cellvit",
        "simulate_pannuke",
        "--settings",
        settings,
        "--root",
        str(root),
        "--fold",
        "1",
    ]


def until_said(log: Path, words: str, process: subprocess.Popen) -> None:
    while words not in log.read_text():
        assert process.poll() is None, log.read_text()


def test_a_step_says_in_its_log_which_process_runs_it_and_is_seen_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "fold1.log"

    with path.open("w") as log, subprocess.Popen(simulation(tmp_path, 500), stderr=log) as process:
        until_said(path, "started step=", process)
        found = read_job_log(path)
        assert found is not None
        alive = found.is_alive
        process.kill()

    assert (found.step, found.pid) == ("simulate_pannuke", process.pid)
    assert found.started <= found.written + timedelta(seconds=1)
    assert alive is True
    assert found.is_alive is False, "it was killed meanwhile"


def test_a_step_that_ends_on_the_cpu_says_nothing_of_a_gpu(tmp_path: Path) -> None:
    done = subprocess.run(simulation(tmp_path, 2), capture_output=True, text=True, check=True, timeout=120)
    path = tmp_path / "fold1.log"
    path.write_text(done.stderr)

    assert "simulated fold=1 tiles=2 of=2" in done.stderr
    assert math.isnan(gpu_peak_mb(path))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_torch_held_on_a_gpu_is_read_from_the_line_that_says_so(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ON_THE_GPU], capture_output=True, text=True, check=True, timeout=120)
    path = tmp_path / "fold1.log"
    path.write_text(done.stderr)

    assert 256 <= gpu_peak_mb(path) < 512


def test_the_gpu_memory_of_a_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "split1_all.log"
    path.write_text(TRAINED_ON_A_GPU)

    assert gpu_peak_mb(path) == 8466


def test_a_log_of_another_machine_does_not_say_whether_its_process_is_there(tmp_path: Path) -> None:
    path = tmp_path / "split1_all.log"
    path.write_text(TRAINED_ON_A_GPU)

    found = read_job_log(path)

    assert found is not None
    assert (found.step, found.host, found.is_alive) == ("train_hovernet", "node7", None)
    assert found.last_line.endswith("device=NVIDIA H100 80GB HBM3")


def test_a_training_ends_at_the_pace_of_its_epochs_also_one_that_was_resumed(tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole.log", tmp_path / "resumed.log"
    whole.write_text(TRAINED_ON_A_GPU)
    resumed.write_text(TRAINED_ON_A_GPU.replace("epoch=1/50", "epoch=39/50").replace("epoch=2/50", "epoch=40/50"))

    for path, epochs_to_go in ((whole, 48), (resumed, 10)):
        found = read_job_log(path)
        assert found is not None
        assert found.ends is not None
        an_epoch = (found.written - found.started) / 2
        assert (found.ends - found.written) / an_epoch == pytest.approx(epochs_to_go)


def test_what_is_no_log_of_a_step_that_started_is_none(tmp_path: Path) -> None:
    failed = tmp_path / "fold1.log"
    failed.write_text("Traceback (most recent call last):\nModuleNotFoundError: No module named 'cellvit'\n")

    assert read_job_log(failed) is None
    assert read_job_log(tmp_path / "nowhere.log") is None
    assert math.isnan(gpu_peak_mb(tmp_path / "nowhere.log"))
