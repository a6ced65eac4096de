"""The command `demo` waits for the program that it called when it is stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
