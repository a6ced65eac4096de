"""Processes that hold pretend GPUs, ended with the test."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pretend_gpus import start

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def started() -> Iterator[Start]:
    """Start a program as `pretend_gpus.start` does; it is killed at the end of the test at the latest."""
    processes: list[subprocess.Popen] = []

    def begin(
        program: str, environment: dict[str, str], *arguments: object, log: Path | None = None
    ) -> subprocess.Popen:
        processes.append(start(program, environment, *arguments, log=log))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()
