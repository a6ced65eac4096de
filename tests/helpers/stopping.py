"""Stages that are stopped by a signal, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

_AT_A_CHANGE = """
import os, signal, sys

suffixes, count, number = sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3])
seen = 0

def stop(event, args):
    global seen
    changed = {"os.rename": 1, "os.remove": 0}.get(event)
    if changed is not None and os.fspath(args[changed]).endswith(tuple(suffixes)):
        seen += 1
        if seen == count:
            os.kill(os.getpid(), number)

sys.addaudithook(stop)
from cellvit.__main__ import main
sys.exit(main(sys.argv[4:]))
"""


def epochs_in(state: Path) -> int:
    """Epochs that a training's state holds; 0 where there is none."""
    if not state.exists():
        return 0
    with safe_open(state, framework="numpy") as file:
        return len(json.loads(file.metadata()["cellvit"])["history"])


def started(arguments: Sequence[str], *, package: Path | None = None) -> subprocess.Popen:
    """A stage in a process of its own; `package` is a folder with another copy of cellvit."""
    return _process(["-m", "cellvit", *arguments], package)


def stopped_after(
    arguments: Sequence[str], state: Path, *, epochs: int, by: signal.Signals, package: Path | None = None
) -> tuple[int, str]:
    """Send the signal to a training, whatever it is at, once its state holds that many epochs; its end and its log."""
    process = started(arguments, package=package)
    await_epochs(process, state, epochs)
    process.send_signal(by)
    _, log = process.communicate(timeout=60)
    return process.returncode, log.decode()


def await_epochs(process: subprocess.Popen, state: Path, epochs: int) -> None:
    """Return once the state of a running training holds that many epochs."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if epochs_in(state) >= epochs:
            return
        time.sleep(0.002)
    process.kill()
    raise AssertionError(f"ended before epoch {epochs}: {process.communicate()[1].decode()}")


def stopped_at_change(
    arguments: Sequence[str], paths: Sequence[Path], *, count: int, by: signal.Signals
) -> tuple[int, str]:
    """Send the signal to a stage just before it renames to, or removes, one of `paths` for the `count`th time."""
    watched = ",".join(f"/{path.name}" for path in paths)
    process = _process(["-c", _AT_A_CHANGE, watched, str(count), str(int(by)), *arguments], None)
    _, log = process.communicate(timeout=120)
    return process.returncode, log.decode()


def _process(arguments: Sequence[str], package: Path | None) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # python -m takes a package from the working directory first
        [sys.executable, *arguments], env=environment, cwd=package, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
