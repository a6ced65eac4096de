"""Pretend GPUs: an executable nvidia-smi that lists them, and small programs that hold them as steps do."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

TWO = """\
GPU 0: Pretend P1 (UUID: GPU-00000000-aaaa)
GPU 1: Pretend P1 (UUID: GPU-11111111-bbbb)
"""
FIRST, SECOND = "GPU-00000000-aaaa", "GPU-11111111-bbbb"

HOLD = """\
import logging, os, sys
from cellvit.workflow.gpu.assignment import assign_gpu

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
assign_gpu("train_hovernet")
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""
"""Holds a GPU, says which, and ends with its standard input."""

TAKE_TURNS = """\
import os, sys, time
from pathlib import Path
from cellvit.workflow.gpu.assignment import assign_gpu

assign_gpu("train_hovernet")
seen, mine = Path(sys.argv[1]), os.environ["CUDA_VISIBLE_DEVICES"]
busy = seen / f"{mine}.busy"
busy.mkdir()  # fails where another job is on the same GPU
Path(seen, f"{os.getpid()}.job").write_text(mine)
while len(list(seen.glob("*.job"))) < 2:  # the first two meet: neither ends before the other has a GPU
    time.sleep(0.01)
time.sleep(0.1)
busy.rmdir()
if sys.argv[2:]:
    Path(sys.argv[2]).write_text(mine)
"""
"""Fails where another job is on its GPU, and ends only when two jobs have had one at the same time."""


def environment(folder: Path, listing: str = TWO, **more: str) -> dict[str, str]:
    """Environment of a machine with these GPUs, whose locks lie in `folder`; its own nvidia-smi is the first on PATH."""
    tools = folder / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    tool = tools / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\n[ "$1" = -L ] || exit 2\ncat <<EOF\n{listing}EOF\n')
    tool.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in {"CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"}}
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "CELLVIT_GPU_LOCKS": str(locks(folder)), "OMP_NUM_THREADS": "1", **more}


def locks(folder: Path) -> Path:
    """Where the locks of that machine lie."""
    return folder / "locks"


def start(program: str, environment: dict[str, str], *arguments: object, log: Path | None = None) -> subprocess.Popen:
    """Start a program that lives until its standard input ends; what it logs goes to `log`."""
    with (log or Path(os.devnull)).open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # as from a terminal: a shell that runs the tests in the background lets all below it ignore SIGINT
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )


def first_line(process: subprocess.Popen) -> str:
    """What the program says first; it has a minute for that."""
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready, "it said nothing"
    return process.stdout.readline().removesuffix("\n")


def until(condition: Callable[[], bool]) -> None:
    """Wait for the condition; a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
