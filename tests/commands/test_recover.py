"""Going on after a dead Snakemake on a workstation, with real runs and real kills; on SLURM: tests/slurm."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from cellvit.workflow.head import forget_head, note_head

SETTINGS = """\
data: {root: null, simulated: {tiles_per_fold: 2000}}
encoder: {preset: tiny-vit, weights: random}
"""
"""A fold of 2,000 tiles takes minutes: long enough to be killed."""

TARGET = "results/simulated/Fold 1/images/fold1/images.npy"


@pytest.fixture
def environment(repository):
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}


@pytest.fixture
def started(tmp_path, environment):
    """Start a program in the folder; it and what it left behind are killed in the end."""
    programs = []

    def start(*words):
        programs.append(
            subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        )
        return programs[-1]

    yield start
    for process in [program.pid for program in programs] + steps_in(tmp_path):
        if psutil.pid_exists(process):
            os.kill(process, signal.SIGKILL)
    for program in programs:
        program.wait(30)


@pytest.fixture
def recover(tmp_path, environment):
    """Run `recover` in the folder."""

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "cellvit", "recover", "--no-slurm", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def snakemake(tmp_path, repository):
    """The call of Snakemake in the folder."""
    (tmp_path / "small.yaml").write_text(SETTINGS)
    profile = ("--workflow-profile", str(repository / "profiles/default"))
    return ("snakemake", "--snakefile", str(repository / "Snakefile"), *profile, "--configfile", "small.yaml")


def steps_in(folder):
    """Processes that simulate in a folder."""
    found = psutil.process_iter(["pid", "cmdline", "cwd", "status"])
    return [
        process.pid
        for process in found
        if process.info["cwd"] == str(folder)
        and (process.info["cmdline"] or [])[1:4] == ["-m", "cellvit", "simulate_pannuke"]
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def wait_for_a_step(folder):
    for _ in range(600):
        if steps_in(folder):
            return steps_in(folder)[0]
        time.sleep(0.1)
    raise AssertionError("no step started in a minute")


@pytest.mark.slow
@pytest.mark.workflow
def test_what_a_killed_head_left_is_ended_and_its_command_goes_on(tmp_path, started, recover, snakemake):
    head = started(*snakemake, "--cores", "1", "--", TARGET)
    step = wait_for_a_step(tmp_path)
    noted = [json.loads(path.read_text()) for path in (tmp_path / ".snakemake/cellvit_heads").iterdir()]

    alive = recover("--", *snakemake, "-n", "--", TARGET)
    head.kill()
    head.wait()
    listed = recover("--list")
    still_there = steps_in(tmp_path)
    locked = list((tmp_path / ".snakemake/locks").iterdir())
    done = recover("--", *snakemake, "-n", "--", TARGET)

    assert noted == [{"host": socket.gethostname(), "pid": head.pid}]
    assert alive.returncode == 1
    assert f"Snakemake is alive here, process {head.pid} on" in alive.stderr
    assert f"kill -INT {head.pid}" in alive.stderr
    assert f"process {step}: simulate_pannuke, its Snakemake is gone" in listed.stdout
    assert still_there == [step]
    assert locked
    assert done.returncode == 0, done.stdout + done.stderr
    assert "processes ended: 1" in done.stdout
    assert "unlocked" in done.stdout
    assert f"going on: snakemake --rerun-incomplete {' '.join(snakemake[1:])} -n -- {TARGET}" in done.stdout
    assert "simulate_pannuke" in done.stdout.partition("going on")[2], "the dry run that was asked for has run"
    assert not steps_in(tmp_path)
    assert not list((tmp_path / ".snakemake/locks").iterdir())


@pytest.mark.slow
@pytest.mark.workflow
@pytest.mark.parametrize("code", [pytest.param(0, id="succeeds"), pytest.param(1, id="fails")])
def test_a_run_takes_its_note_off_when_it_ends(tmp_path, snakemake, environment, code):
    (tmp_path / "small.yaml").write_text(SETTINGS.replace("2000", "1"))
    failing = tmp_path / "bin/python"
    failing.parent.mkdir()
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o755)
    path = f"{failing.parent}:{environment['PATH']}" if code else environment["PATH"]

    done = subprocess.run(
        [*snakemake, "--cores", "1", "--", TARGET],
        cwd=tmp_path,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert list((tmp_path / ".snakemake/cellvit_heads").iterdir()) == []


@pytest.mark.slow
def test_a_step_started_by_hand_is_left_alone_and_named(tmp_path, started, recover):
    settings = '{"tiles_per_fold": 2000}'
    started(sys.executable, "-m", "cellvit", "simulate_pannuke", "--settings", settings, "--root", "raw", "--fold", "1")
    step = wait_for_a_step(tmp_path)

    done = recover("--", "snakemake", "--cores", "1")

    assert done.returncode == 1
    assert f"process {step} is a simulate_pannuke that was started by hand. Nothing was ended." in done.stderr
    assert steps_in(tmp_path) == [step]


@pytest.fixture
def begun_elsewhere(tmp_path):
    """A folder whose lock belongs to a run on another machine; a run on this one ended in order since."""
    note_head(tmp_path)
    record = next((tmp_path / ".snakemake/cellvit_heads").iterdir())
    record.with_name("login2_4711.json").write_text(json.dumps({"host": "login2", "pid": 4711}))
    forget_head(tmp_path)
    lock = tmp_path / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir()
    lock.write_text("results/summary.csv\n")
    return tmp_path


def test_a_run_that_began_on_another_machine_is_left_to_that_machine(begun_elsewhere, recover):
    done = recover("--", "snakemake", "--cores", "1")

    assert done.returncode == 1
    assert "locked, and a run began on login2 as process 4711; from" in done.stderr
    assert "Call this on login2; or look there (ps -p 4711), and if it is gone: --head-is-dead" in done.stderr


def test_a_run_elsewhere_is_remembered_when_another_one_begins_here(begun_elsewhere, recover):
    note_head(begun_elsewhere)

    done = recover("--", "snakemake", "--cores", "1")

    assert done.returncode == 1
    assert "on login2 as process 4711" in done.stderr


@pytest.mark.slow
@pytest.mark.workflow
def test_the_word_of_the_user_settles_a_run_on_another_machine(begun_elsewhere, recover, snakemake):
    done = recover("--head-is-dead", "--", *snakemake, "-n", "--", TARGET)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is left behind" in done.stdout
    assert "unlocked" in done.stdout
    assert not list((begun_elsewhere / ".snakemake/cellvit_heads").iterdir())


def test_a_lock_that_is_gone_says_that_the_run_elsewhere_ended(begun_elsewhere, recover):
    for lock in (begun_elsewhere / ".snakemake/locks").iterdir():
        lock.unlink()

    done = recover("--list")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "recover: nothing is left behind\n"


@pytest.mark.parametrize(("words", "found"), [(["make", "run"], "make run"), ([], "nothing")])
def test_a_command_that_is_no_snakemake_is_refused_with_an_example(recover, words, found):
    done = recover("--", *words)

    assert done.returncode == 1
    assert f"expected the snakemake command to go on with, found {found}" in done.stderr
    assert "python -m cellvit recover -- snakemake --workflow-profile profiles/slurm" in done.stderr


def test_a_program_that_is_not_there_is_said_before_anything_is_ended(recover):
    done = recover("--", "/nowhere/snakemake", "--cores", "1")

    assert done.returncode == 1
    assert "/nowhere/snakemake: no such program, so that nothing was ended. Activate the environment" in done.stderr


def test_a_queue_that_does_not_answer_stops_everything(tmp_path, environment):
    squeue = tmp_path / "bin/squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    squeue.chmod(0o755)

    done = subprocess.run(
        [sys.executable, "-m", "cellvit", "recover", "--", "snakemake", "--cores", "1"],
        cwd=tmp_path,
        env={**environment, "PATH": f"{squeue.parent}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "squeue does not answer, so that jobs of a dead run cannot be found: Unable to contact" in done.stderr
    assert "--no-slurm" in done.stderr
    assert not Path(tmp_path, ".snakemake").exists()
