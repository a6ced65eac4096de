"""Real processes on pretend GPUs."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from pretend_gpus import FIRST, HOLD, SECOND, TAKE_TURNS, TWO, environment, first_line, locks, until

from cellvit.errors import SettingsError
from cellvit.workflow.gpu.assignment import lock_folder

ONE = TWO.splitlines(keepends=True)[0]

HOLD_WITH_FORKED_WORKERS = """\
import multiprocessing, time
from cellvit.workflow.gpu.assignment import assign_gpu

assign_gpu("train_hovernet")
workers = [multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)) for _ in range(2)]
for worker in workers:
    worker.start()
print(*[worker.pid for worker in workers], flush=True)
time.sleep(600)
"""

WAIT_TALKATIVELY = """\
import logging, sys
from pathlib import Path
from cellvit.workflow.gpu.assignment import held_gpu
from cellvit.workflow.gpu.listing import listed_gpus

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
held_gpu(listed_gpus(), Path(sys.argv[1]), "train_hovernet", say_every_s=0)
"""


def said(log: Path, what: str) -> bool:
    return log.exists() and what in log.read_text()


def test_five_jobs_share_two_gpus_and_never_one_at_a_time(tmp_path: Path, started) -> None:
    machine, seen = environment(tmp_path), tmp_path / "seen"
    seen.mkdir()

    jobs = [started(TAKE_TURNS, machine, seen, log=tmp_path / f"{number}.log") for number in range(5)]
    codes = [job.wait(60) for job in jobs]

    assert codes == [0] * 5, [path.read_text() for path in sorted(tmp_path.glob("*.log"))]
    served = Counter(path.read_text() for path in seen.glob("*.job"))
    assert served.total() == 5
    assert set(served) == {FIRST, SECOND}


def test_a_job_that_waits_says_who_holds_the_gpus_and_takes_that_of_one_that_is_killed(tmp_path: Path, started) -> None:
    machine, log = environment(tmp_path), tmp_path / "third.log"
    first, second = started(HOLD, machine), started(HOLD, machine)
    theirs = {first_line(holder): holder for holder in (first, second)}

    third = started(HOLD, machine, log=log)
    until(lambda: said(log, "every GPU is held"))
    theirs[SECOND].send_signal(signal.SIGKILL)

    assert first_line(third) == SECOND
    for index, (uuid, holder) in enumerate(sorted(theirs.items())):
        assert f"{index} Pretend P1 {uuid}: held by pid {holder.pid}, train_hovernet, since " in log.read_text()
    assert f"gpu=1 Pretend P1 {SECOND}" in log.read_text()


def test_a_job_that_waits_long_says_so_again(tmp_path: Path, started) -> None:
    machine, log = environment(tmp_path, ONE), tmp_path / "waiting.log"
    first_line(started(HOLD, machine))

    started(WAIT_TALKATIVELY, machine, locks(tmp_path), log=log)

    until(lambda: log.read_text().count("every GPU is held") >= 2)


def test_forked_workers_that_outlive_a_killed_job_hold_no_gpu(tmp_path: Path, started) -> None:
    machine = environment(tmp_path, ONE)
    holder = started(HOLD_WITH_FORKED_WORKERS, machine)
    workers = [int(pid) for pid in first_line(holder).split()]
    try:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        next_job = started(HOLD, machine)

        assert first_line(next_job) == FIRST
        assert len(workers) == 2
        assert all("S (sleeping)" in Path(f"/proc/{pid}/status").read_text() for pid in workers)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_waits_can_be_interrupted(tmp_path: Path, started, number: signal.Signals) -> None:
    machine, log = environment(tmp_path, ONE), tmp_path / "waiting.log"
    first_line(started(HOLD, machine))

    waiting = started(HOLD, machine, log=log)
    until(lambda: said(log, "every GPU is held"))
    waiting.send_signal(number)

    assert waiting.wait(60) == -number


def test_a_job_keeps_to_the_devices_that_the_user_allows(tmp_path: Path, started) -> None:
    machine, log = environment(tmp_path, CUDA_VISIBLE_DEVICES="1"), tmp_path / "second.log"
    assert first_line(started(HOLD, machine)) == SECOND

    started(HOLD, machine, log=log)
    until(lambda: said(log, "every GPU is held"))

    assert SECOND in log.read_text()
    assert FIRST not in log.read_text()


def test_one_device_is_one_lock_whether_named_by_number_or_uuid(tmp_path: Path, started) -> None:
    log = tmp_path / "second.log"
    by_uuid = started(HOLD, environment(tmp_path, CUDA_VISIBLE_DEVICES=SECOND))
    first_line(by_uuid)

    started(HOLD, environment(tmp_path, CUDA_VISIBLE_DEVICES="1"), log=log)

    until(lambda: said(log, f"held by pid {by_uuid.pid}"))


@pytest.mark.parametrize("none", ["", "-1"])
def test_a_user_who_allows_no_device_gets_none(tmp_path: Path, started, none: str) -> None:
    job = started(HOLD, environment(tmp_path, CUDA_VISIBLE_DEVICES=none))

    assert first_line(job) == none
    assert not locks(tmp_path).exists()


def test_a_machine_without_gpus_locks_nothing(tmp_path: Path, started) -> None:
    job = started(HOLD, environment(tmp_path, listing=""))

    assert first_line(job) == "None"
    assert not locks(tmp_path).exists()


def test_on_slurm_the_scheduler_binds(tmp_path: Path, started) -> None:
    machine, log = environment(tmp_path, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0,1"), tmp_path / "job.log"
    del machine["CELLVIT_GPU_LOCKS"]
    (tmp_path / "tools" / "nvidia-smi").write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")

    job = started(HOLD, machine, log=log)

    assert first_line(job) == "0,1"
    assert not (tmp_path / "called").exists()
    assert "devices are left to the scheduler CUDA_VISIBLE_DEVICES=0,1" in log.read_text()
    assert "CELLVIT_GPU_LOCKS=/tmp/cellvit-gpus gives each step its own" in log.read_text()


def test_another_scheduler_binds_where_the_environment_says_so(tmp_path: Path, started) -> None:
    job = started(HOLD, environment(tmp_path, CELLVIT_GPU_LOCKS="none", CUDA_VISIBLE_DEVICES="1"))

    assert first_line(job) == "1"


def test_several_devices_of_one_slurm_job_are_shared_where_the_environment_says_so(tmp_path: Path, started) -> None:
    machine = environment(tmp_path, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0,1")

    found = {first_line(started(HOLD, machine)) for _ in range(2)}

    assert found == {FIRST, SECOND}


def test_a_folder_that_would_depend_on_where_a_job_runs_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected `none`, or the absolute path"):
        lock_folder({"CELLVIT_GPU_LOCKS": "locks"})


def test_all_users_share_one_folder_unless_told_otherwise() -> None:
    assert lock_folder({"TMPDIR": "/scratch/ann", "USER": "ann"}) == lock_folder({}) == Path("/tmp/cellvit-gpus")


@pytest.mark.workflow
def test_snakemake_with_the_workstation_profile_runs_two_jobs_each_on_its_own_gpu(
    tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "seen").mkdir()
    (tmp_path / "job.py").write_text(TAKE_TURNS)
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: expand("{n}.txt", n=range(4))\n'
        'rule job:\n    output: "{n}.txt"\n    resources: gpu=1, mem_mb=1000\n'
        '    shell: "python job.py seen {output} > {wildcards.n}.log 2>&1"\n'
    )
    command = ["snakemake", "--workflow-profile", repository / "profiles" / "workstation", "--cores", "4"]

    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "Execute 2 jobs..." in done.stderr
    assert {(tmp_path / f"{n}.txt").read_text() for n in range(4)} == {FIRST, SECOND}
