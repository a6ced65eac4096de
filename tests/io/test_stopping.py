"""SIGTERM ends a step in order."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from cellvit.training.stopping import stopped_by_sigterm

with stopped_by_sigterm():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        print("in order")
        {then}
print("went on")
"""


def run(then: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(then=then)], capture_output=True, text=True, check=False, timeout=50
    )


def test_sigterm_leaves_blocks_in_order_and_the_code_says_so() -> None:
    done = run()

    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "in order\n")
    assert "stopped by SIGTERM" in done.stderr


def test_a_second_sigterm_ends_the_process_at_once() -> None:
    done = run("sys.stdout.flush(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)")

    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "in order\n")


def test_outside_the_signal_does_what_it_did() -> None:
    from cellvit.training.stopping import stopped_by_sigterm

    def before(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    original = signal.signal(signal.SIGTERM, before)
    try:
        with stopped_by_sigterm():
            assert signal.getsignal(signal.SIGTERM) is not before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, original)
