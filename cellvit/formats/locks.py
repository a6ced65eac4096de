"""Locks that one process holds on a file until it ends: by the kernel, or by a file of its own where disks have no locks."""

import errno
import fcntl
import logging
import os
import shlex
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from cellvit.errors import BusyFolderError

log = logging.getLogger(__name__)

_ENOTSUPP: Final = 524
"""Number that Linux's NFS returns and no header of the C library names."""

_NAMES: Final = ("EDEADLK", "ENOLCK", "ENOSYS", "EBADFD", "EOPNOTSUPP", "ENOTSUP", "EINVAL")

NO_LOCKS: Final = frozenset({_ENOTSUPP, *(getattr(errno, name) for name in _NAMES if hasattr(errno, name))})
"""What file systems without locks answer, such as NFS without its lock service, and Lustre without the option flock.
macOS has no EBADFD."""

_HELD: Final = frozenset({errno.EAGAIN, errno.EACCES})
"""What the system answers where another process holds a lock, and some network disks to every request."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock `path` inside of the block, or until this process ends.

    Args:
        what: What nobody else may do meanwhile, as the message says it: "writes this store".

    Raises:
        BusyFolderError: Another process holds it; the message names its host and number.
    """
    file = lock(path, what)
    try:
        yield
    finally:
        release(path, file)


def lock(path: Path, what: str) -> IO[str]:
    """Hold the lock until `release`, or until this process ends; raises as `locked`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno in _HELD and grants_locks(path.parent):
                raise _busy(path, what, path.read_text(errors="replace")) from None
            if error.errno not in NO_LOCKS | _HELD:
                raise _naming(path, error) from error
            log.info("the file system has no locks (%s); a file marks the process instead file=%s", error, _mark(path))
            return _lock_by_mark(path, what)
        if os.fstat(file.fileno()).st_nlink:
            break
        file.close()  # its last holder removed it after it was opened here; others would lock a new file
    try:
        os.truncate(file.fileno(), 0)
        os.write(file.fileno(), _holder().encode())  # not buffered: closing the file cannot fail then
    except OSError as error:  # such as a full disk
        path.unlink(missing_ok=True)
        file.close()
        raise _naming(path, error) from error
    return file


def grants_locks(folder: Path) -> bool:
    """Whether the disk of a folder grants the lock of a new file, which no other process can hold.

    Raises:
        OSError: No file can be created or locked there for another reason.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".cellvit_lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS | _HELD:
                return False
            raise
    return True


def release(path: Path, file: IO[str]) -> None:
    """Give the lock back, and remove its file."""
    path.unlink(missing_ok=True)
    file.close()
    if (mark := _mark(path)).exists() and mark.read_text(errors="replace") == _holder():
        mark.unlink(missing_ok=True)


def _lock_by_mark(path: Path, what: str) -> IO[str]:
    """A lock by a file that only one process can create: a hard link to a file with its name and number.

    The link is atomic on every file system that has links. The mark of a process that has ended on this host is removed; one
    of another host stays, because nobody here can know whether that process still runs.
    """
    mark, own = _mark(path), path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        own.write_text(_holder())
        _remove_left(mark)
        mark.hardlink_to(own)
    except FileExistsError:
        found = mark.read_text(errors="replace")
        raise _busy(path, what, found, f" If it does not run any more: rm {shlex.quote(str(mark))}") from None
    except OSError as error:  # such as a full disk
        raise _naming(path, error) from error
    finally:
        own.unlink(missing_ok=True)
    return path.open("a+")


def _remove_left(mark: Path) -> None:
    """Remove the mark of a process of this host that has ended."""
    # ValueError, OverflowError: not a mark of this program; PermissionError: a living process of another user.
    with suppress(FileNotFoundError, ValueError, OverflowError, PermissionError):
        host, pid = mark.read_text(errors="replace").split()[1:4:2]
        if host != socket.gethostname():
            return
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            mark.unlink(missing_ok=True)
            log.warning("removed the mark of process %s of this host, which was killed file=%s", pid, mark)


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def _holder() -> str:
    return f"host {socket.gethostname()} process {os.getpid()}"


def _naming(path: Path, error: OSError) -> OSError:
    """The error with the name of the lock, which calls on open files leave out."""
    number = error.errno or 0
    return OSError(number, os.strerror(number), str(path))


def _busy(path: Path, what: str, found: str, further: str = "") -> BusyFolderError:
    shown = "".join(letter for letter in found[:200] if letter.isprintable()) or "another process"
    return BusyFolderError(
        f"{path}: another process {what}: {shown}, {_age(path)}. Fix: wait for it, or end it.{further}"
    )


def _age(path: Path) -> str:
    with suppress(OSError):
        return f"since {time.strftime('%Y-%m-%d %H:%M', time.localtime(path.stat().st_mtime))}"
    return "since an unknown time"
