"""Pretend GPUs: a script nvidia-smi that lists them, and small programs that hold them as steps do."""

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
from cellvit.workflow.gpu import assign_gpu

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
assign_gpu("train_hovernet")
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""
"""Holds a GPU, prints its UUID, and ends when its standard input ends."""


def environment(folder: Path, listing: str = TWO, *, code: int = 0, cards: str = "", **more: str) -> dict[str, str]:
    """Environment of a machine with its locks in `folder`, where nvidia-smi prints that list and exits with that code.

    Args:
        cards: What it answers to a query: UUID, total and free memory in MiB, and compute capability of each card.
    """
    tool = folder / "tools" / "nvidia-smi"
    tool.parent.mkdir(parents=True, exist_ok=True)
    query = f'case "$1" in --query-gpu=*) cat <<EOF\n{cards}EOF\n exit {code};; esac\n'
    tool.write_text(f'#!/bin/sh\n{query}[ "$1" = -L ] || exit 2\ncat <<EOF\n{listing}EOF\nexit {code}\n')
    tool.chmod(0o755)
    without = {"CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"}
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "PATH": path, "CELLVIT_GPU_LOCKS": str(locks(folder)), "OMP_NUM_THREADS": "1", **more}


def locks(folder: Path) -> Path:
    """Folder of the locks of that machine."""
    return folder / "locks"


def start(program: str, environment: dict[str, str], *arguments: object, log: Path | None = None) -> subprocess.Popen:
    """Start a program, whose log messages go to `log`."""
    with (log or Path(os.devnull)).open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # as in a terminal: where a shell runs the tests in the background, SIGINT is ignored by all processes below
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )


def first_line(process: subprocess.Popen) -> str:
    """The first line that the program prints within a minute."""
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready, "the program printed nothing"
    return process.stdout.readline().removesuffix("\n")


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true, at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.01)
