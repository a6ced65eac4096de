"""Runs that are killed at random moments: what is there is whole, and the next run ends equal."""

import random
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from workshop import Workshop, make_workshop

from cellvit.workflow.verification import faults_of, products

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

KILLS = 12
SEED = 13


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, repository: Path, finished: Workshop) -> Workshop:
    """The folder of the finished run again, without results and without a cache."""
    home = tmp_path_factory.mktemp("interrupted")
    settings = (finished.home / "small.yaml").read_text()
    workshop = make_workshop(home, repository, settings, {})
    shutil.copytree(finished.home / "raw", home / "raw")
    return workshop


def processes(head: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(head.pid).children(recursive=True)


def kill(head: subprocess.Popen, number: signal.Signals, *, everything: bool) -> None:
    """Send a signal to the head, or to it and every process of the run; afterwards nothing of the run is left."""
    children = processes(head)
    for process in children if everything else []:
        signalled(process, number)
    head.send_signal(number)
    head.wait(120)  # SIGTERM ends the head, too
    for process in children:
        signalled(process, signal.SIGKILL)
    psutil.wait_procs(children, 30)


def signalled(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def comparable(results: Path) -> dict[str, bytes]:
    """Bytes of every product but those that state times."""
    return {
        str(path.relative_to(results)): path.read_bytes() for path in products(results) if path.name != "index.html"
    }


def test_a_run_that_is_killed_again_and_again_ends_equal_to_one_that_was_not(
    interrupted: Workshop, finished: Workshop
) -> None:
    random_numbers = random.Random(SEED)
    broken: list[str] = []
    for number in range(KILLS):
        by = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        head = interrupted.start("--cores", "2", "--rerun-incomplete")
        time.sleep(random_numbers.uniform(1.5, 6))
        if head.poll() is None:
            kill(head, by, everything=number % 4 < 2)
        interrupted.snakemake("--unlock")
        broken += [fault for path in products(interrupted.results) for fault in faults_of(path)]

    done = interrupted.snakemake("--cores", "2", "--rerun-incomplete")

    assert broken == []
    assert done.returncode == 0, done.stderr[-4000:]
    assert comparable(interrupted.results) == comparable(finished.results)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_head_whose_scheduler_holds_its_lock(repository: Path, tmp_path: Path, number: int) -> None:
    """The scheduler holds its lock while it computes the checksum of a large output; the handler of 9.27.1 then hangs."""
    onstart = re.search(
        r"^onstart:\n(?: {4}#.*\n)+ {4}for number .*\n(?: {8}.*\n)+",
        (repository / "Snakefile").read_text(),
        re.MULTILINE,
    )
    assert onstart is not None
    (tmp_path / "Snakefile").write_text(
        "import signal\n\n"
        'rule after:\n    input: "large.bin"\n    output: "after.txt"\n    shell: "touch {output}"\n\n'
        'rule large:\n    output: "large.bin"\n    shell: "truncate --size 8G {output}"\n\n' + onstart.group()
    )
    words = ["snakemake", "--cores", "1", "--max-checksum-file-size", str(10**11)]
    before = signal.signal(number, signal.SIG_DFL)  # under nohup the tests ignore a hangup, and what they start does
    with (tmp_path / "log.txt").open("wb") as log:
        head = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    signal.signal(number, before)
    try:
        while not (tmp_path / "large.bin").exists():
            assert head.poll() is None, (tmp_path / "log.txt").read_text()
            time.sleep(0.02)
        time.sleep(1)
        assert head.poll() is None
        head.send_signal(number)
        head.wait(60)
    finally:
        if head.poll() is None:
            head.kill()

    assert head.returncode != 0
    assert "Terminating processes on user request" in (tmp_path / "log.txt").read_text()
