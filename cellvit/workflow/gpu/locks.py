"""Lock files that all users of a machine share: one a device, held by one process until it ends.

These are POSIX record locks, not flock: they belong to the process, so the kernel releases them at its death, however it
dies, while processes that it forked live on; a flock would live on in each of those. The price: closing any descriptor of
the file releases the lock, so a process that holds one never opens that file again. Either kind needs a local disk.
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from cellvit.errors import SettingsError

_RECORD_BYTES: Final = 128
"""Every record has this size, so that a file is written over and never truncated."""

_RECORD: Final = re.compile(r"pid \d+, \w+, since [\d:T-]+")

_CAREFULLY: Final = os.O_NOFOLLOW | os.O_NONBLOCK
"""Others may write to the folder: follow no link of theirs, wait for no pipe."""


def try_hold(folder: Path, name: str, step: str) -> bool:
    """True where this process holds the lock `name` from now until it ends; False where another does.

    A folder that is missing is made; its parent must be there.

    Raises:
        SettingsError: The folder or the file cannot be shared, or its file system knows no locks.
    """
    with _explained(folder), ExitStack() as descriptors:
        shared = _opened_folder(folder)
        descriptors.callback(os.close, shared)
        if not _taken(shared):
            return False
        file = _opened(shared, name)
        descriptors.callback(os.close, file)
        if not _locked(file, fcntl.LOCK_EX) or not _still_there(shared, name, file):
            return False
        os.pwrite(file, _record(step), 0)
        descriptors.pop_all()  # they stay open: the lock ends with this process
        return True


def holder_of(folder: Path, name: str) -> str | None:
    """Process and step that hold the lock `name`, in their own words; None where nobody does."""
    try:
        file = os.open(folder / name, os.O_RDONLY | _CAREFULLY)
    except OSError:
        return None
    try:
        if _locked(file, fcntl.LOCK_SH):
            return None
        record = os.pread(file, _RECORD_BYTES, 0).decode("ascii", "replace").strip()
        return record if _RECORD.fullmatch(record) else "a process that did not say its name"
    finally:
        os.close(file)


def _record(step: str) -> bytes:
    text = f"pid {os.getpid()}, {step}, since {datetime.now().isoformat(timespec='seconds')}"
    return text.encode("ascii", "replace")[: _RECORD_BYTES - 1].ljust(_RECORD_BYTES - 1) + b"\n"


def _opened_folder(folder: Path) -> int:
    with suppress(FileExistsError), _open_to_all():
        folder.mkdir(0o1777)  # sticky, as /tmp is: nobody removes another's file
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _taken(shared: int) -> bool:
    """True where the folder is kept from cleaners: systemd passes over folders that someone has locked."""
    try:
        fcntl.flock(shared, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # it is being cleaned
        return False
    return True


def _opened(shared: int, name: str) -> int:
    """Descriptor of the lock file, made where it is missing.

    O_CREAT only makes it: with fs.protected_regular set, as is usual, it may not open what another user made.
    """
    with suppress(FileExistsError), _open_to_all():
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=shared))
    file = os.open(name, os.O_RDWR | _CAREFULLY, dir_fd=shared)
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return file
    os.close(file)
    raise OSError(f"{name} is no plain file, or has a second name")


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(shared: int, name: str, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=shared, follow_symlinks=False), os.fstat(file))
    except FileNotFoundError:
        return False


@contextmanager
def _open_to_all() -> Iterator[None]:
    """What is made meanwhile has the rights that were asked for, whatever the umask."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"{folder}: the locks of the GPUs cannot be kept there, expected a folder on a local disk that everyone may "
            f"write to (mode 1777): {error}. Mend or remove it, or name another one in CELLVIT_GPU_LOCKS."
        ) from error
