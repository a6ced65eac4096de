"""Disks that are small, read-only or refuse locks."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A new folder on a disk of its own, with a size as of `mount`: "64k"; the test is skipped if this user cannot mount one."""
    folder.mkdir()
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder as on a disk that is mounted for reading only; the test is skipped if this user cannot mount it so."""
    with _mounted(folder, "--bind", folder):
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the system answer every request for a lock with this error, as disks without locks do."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)


@contextmanager
def _mounted(folder: Path, *words: str | Path) -> Iterator[None]:
    if subprocess.run(["mount", *words, folder], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
