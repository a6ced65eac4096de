"""The command `demo` waits for the program that it called, and runs once at a time in a folder."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cellvit.data.simulate.slide import write_slide
from cellvit.formats.locks import locked

CHILD = """\
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(1)  # as Snakemake, which stops its steps first
    pathlib.Path(sys.argv[1], "stopped").touch()
    sys.exit(1)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1], "started").touch()
time.sleep(60)
"""

PARENT = """\
import sys
from cellvit.commands.demo import _call
_call([sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_ends_after_the_program_that_it_called(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path)]
    demo = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "started").exists():
            assert demo.poll() is None
        # Ctrl-C reaches all programs of a terminal, the other signal this one alone
        (os.killpg if number == signal.SIGINT else os.kill)(demo.pid, number)
        _, said = demo.communicate(timeout=60)
    finally:
        demo.kill()

    assert (tmp_path / "stopped").exists()
    assert "it ended with the code 1" in said


@pytest.mark.workflow
def test_a_second_demo_in_one_folder_is_refused_and_one_after_a_kill_is_not(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "data").mkdir()
    write_slide(tmp_path / "data" / "demo_slide.ome.tif", "Colon", 0, width=300, height=260)
    words = [sys.executable, "-m", "cellvit", "demo"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    demo: dict[str, Any] = {"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True}

    with locked(tmp_path / "results" / "demo" / ".cellvit_run.lock", "runs snakemake on this output folder"):
        second = subprocess.run(words, check=False, **demo)
    killed, after = (first_step_of(words, demo) for _ in range(2))

    said = " ".join(second.stderr.split())
    assert second.returncode == 5
    assert f"runs snakemake on this output folder: host {socket.gethostname()} process {os.getpid()}" in said
    assert "Fix: wait for it, or end it; then cellvit demo" in said
    assert "unlock" not in second.stderr
    assert "Simulate fold" in killed
    assert re.search(r"Simulate fold|Prepare fold", after)


def first_step_of(words: list[str], demo: dict[str, Any]) -> str:
    """What a demo says until its first step begins, and is killed with everything that it started."""
    process = subprocess.Popen(words, start_new_session=True, **demo)
    assert process.stderr is not None
    said = ""
    try:
        for line in process.stderr:
            said += line
            if re.search(r"Simulate fold|Prepare fold", line):
                break
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return said
