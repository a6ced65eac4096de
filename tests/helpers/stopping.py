"""Steps that are stopped by a signal, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

_STEP = """
import argparse, importlib, logging, os, sys
from cellvit.workflow.arguments import add_options, parsed

suffixes, number, count = sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3])

def stop(event, args):
    global count
    changed = {"os.rename": 1, "os.remove": 0}.get(event)
    if changed is not None and os.fspath(args[changed]).endswith(tuple(suffixes)):
        count -= 1
        if count == 0:
            os.kill(os.getpid(), number)

if count:
    sys.addaudithook(stop)
logging.basicConfig(level=logging.INFO, format="%(message)s")
step = importlib.import_module(f"cellvit.stages.{sys.argv[4]}")
parser = argparse.ArgumentParser()
add_options(parser, step.Arguments)
step.run(parsed(step.Arguments, parser.parse_args(sys.argv[5:])))
"""


def rounds_in(state: Path) -> int:
    """Rounds that the state of a training holds; 0 where there is none."""
    if not state.exists():
        return 0
    with safe_open(state, framework="numpy") as file:
        return len(json.loads(file.metadata()["cellvit"])["history"])


def stopped_after(arguments: Sequence[str], state: Path, *, rounds: int, by: signal.Signals) -> tuple[int, str]:
    """Send the signal to a training once its state holds that many rounds; return its exit code and its log."""
    process = _started(arguments)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and rounds_in(state) < rounds:
        time.sleep(0.002)
    process.send_signal(by)
    _, log = process.communicate(timeout=60)
    return process.returncode, log.decode()


def stopped_at_change(
    arguments: Sequence[str], paths: Sequence[Path], *, count: int, by: signal.Signals
) -> tuple[int, str]:
    """Send the signal to a step just before it renames to, or removes, one of `paths` for the `count`th time."""
    process = _started(arguments, ",".join(f"/{path.name}" for path in paths), by, count)
    _, log = process.communicate(timeout=120)
    return process.returncode, log.decode()


def _started(arguments: Sequence[str], watched: str = "", by: int = 0, count: int = 0) -> subprocess.Popen:
    program = ["-c", _STEP, watched, str(int(by)), str(count), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
