import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from disks import refuse_locks

from cellvit.errors import BusyFolderError
from cellvit.formats.locks import locked

HOLD = (
    "import fcntl, pathlib, sys\n"
    "if sys.argv[2] == 'without':\n"
    "    def flock(*_): raise OSError(int(sys.argv[3]), 'no locks')\n"
    "    fcntl.flock = flock\n"
    "from cellvit.formats.locks import locked\n"
    "with locked(pathlib.Path(sys.argv[1]), 'uses this folder'): print(flush=True); sys.stdin.read()"
)
WITHOUT_LOCKS = [errno.EAGAIN, errno.EACCES, errno.EDEADLK, errno.ENOLCK, errno.EBADFD, errno.EOPNOTSUPP, 524]


def holder(path: Path, kind: str = "flock", number: int = 0) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), kind, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    return process


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """A file system that answers every request for a lock with this error."""
    refuse_locks(monkeypatch, request.param)
    return request.param


def test_a_lock_is_held_by_one_process_and_free_after_its_end(tmp_path: Path) -> None:
    other = holder(tmp_path / "run.lock")

    with (
        pytest.raises(BusyFolderError, match=rf"another process uses this folder: host \S+ process {other.pid}, since"),
        locked(tmp_path / "run.lock", "uses this folder"),
    ):
        pass
    ended(other)

    with locked(tmp_path / "run.lock", "uses this folder"):
        assert (tmp_path / "run.lock").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("no_locks", WITHOUT_LOCKS, indirect=True)
def test_where_the_disk_has_no_locks_a_file_holds_the_place_of_a_living_process(
    tmp_path: Path, no_locks: int, caplog: pytest.LogCaptureFixture
) -> None:
    other = holder(tmp_path / "run.lock", "without", no_locks)

    with (
        pytest.raises(BusyFolderError, match=rf"process {other.pid}"),
        locked(tmp_path / "run.lock", "uses this folder"),
    ):
        pass
    ended(other)

    with locked(tmp_path / "run.lock", "uses this folder"):  # the mark of a process that has ended does not count
        pass
    assert f"removed the mark of process {other.pid} of this host, which was killed" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("no_locks", [errno.ENOLCK], indirect=True)
def test_the_mark_of_another_host_is_never_removed(tmp_path: Path, no_locks: int) -> None:
    mark = tmp_path / "run.lock.held"
    mark.write_text("host elsewhere process 1")

    with (
        pytest.raises(BusyFolderError, match=rf"host elsewhere process 1.* If it does not run any more: rm {mark}"),
        locked(tmp_path / "run.lock", "uses this folder"),
    ):
        pass

    assert mark.exists()


@pytest.mark.parametrize("no_locks", [errno.ENOLCK], indirect=True)
def test_the_mark_of_a_living_process_of_another_user_holds(
    tmp_path: Path, no_locks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.lock.held").write_text(f"host {socket.gethostname()} process 1")

    def of_another_user(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", of_another_user)

    with (
        pytest.raises(BusyFolderError, match=r"another process uses this folder: host \S+ process 1"),
        locked(tmp_path / "run.lock", "uses this folder"),
    ):
        pass


@pytest.mark.parametrize("no_locks", [errno.ENOLCK], indirect=True)
@pytest.mark.parametrize("text", ["", "rubbish", "host {} process", f"host {{}} process {10**30}", "host {} process x"])
def test_a_mark_that_names_no_process_is_refused_with_the_command_that_removes_it(
    tmp_path: Path, no_locks: int, text: str
) -> None:
    mark = tmp_path / "run.lock.held"
    mark.write_text(text.format(socket.gethostname()))

    with pytest.raises(BusyFolderError, match=f": rm {mark}"), locked(tmp_path / "run.lock", "uses this folder"):
        pass


@pytest.mark.parametrize("kind", ["flock", "without"])
def test_a_disk_on_which_no_lock_can_be_written_is_an_error_with_the_name_of_the_lock(
    tmp_path: Path, kind: str
) -> None:
    lock = tmp_path / "folder" / "run.lock"
    words = [sys.executable, "-c", HOLD, str(lock), kind, str(errno.ENOLCK)]

    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "_", *words], capture_output=True, text=True, check=False
    )

    assert f"OSError: [Errno {errno.EFBIG}] File too large: '{lock}'" in done.stderr
    assert [path for path in lock.parent.iterdir() if path != lock] == []


def test_another_error_of_the_disk_is_not_taken_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_locks(monkeypatch, errno.EIO)

    with (
        pytest.raises(OSError, match=r"Input/output error: '.*run\.lock'"),
        locked(tmp_path / "run.lock", "uses this folder"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
