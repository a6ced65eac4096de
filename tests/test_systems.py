"""Code for Linux on systems that lack what only Linux has: the calls are taken away."""

import errno
import importlib
import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cellvit.formats import locks
from cellvit.systems import peak_memory_bytes, usable_processors
from cellvit.workflow.cache import ResultCache


def test_processors_are_those_of_the_machine_where_a_process_cannot_be_bound_to_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)

    assert usable_processors() == os.cpu_count()


@pytest.mark.parametrize(("platform", "expected"), [("linux", 3 << 20), ("darwin", 3 << 10)])
def test_memory_is_in_bytes_on_every_system(monkeypatch: pytest.MonkeyPatch, platform: str, expected: int) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=3 << 10))

    assert peak_memory_bytes() == expected


def test_locks_work_where_an_error_number_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(errno, "EBADFD", raising=False)
    try:
        without = importlib.reload(locks).NO_LOCKS
    finally:
        monkeypatch.undo()
        importlib.reload(locks)

    assert {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP} <= without


def test_large_results_are_linked_where_files_cannot_be_cloned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    store, restored = tmp_path / "results" / "store.h5", tmp_path / "again" / "store.h5"
    store.parent.mkdir()
    with store.open("wb") as file:
        file.truncate(17 << 20)
    cache = ResultCache.beside(tmp_path / "cache", 1e9, store)
    assert cache is not None
    cache.add("key", {"store": store})

    assert cache.restore("key", {"store": restored})
    assert restored.stat().st_ino == store.stat().st_ino


@pytest.mark.parametrize("call", ["posix_fallocate", "os.sched_", "/proc/", "prctl", "memfd_create", "copy_file_range"])
def test_no_other_module_calls_what_only_linux_has(repository: Path, call: str) -> None:
    users = {
        str(path.relative_to(repository)) for path in (repository / "cellvit").rglob("*.py") if call in path.read_text()
    }

    assert users <= {"cellvit/systems.py"}
