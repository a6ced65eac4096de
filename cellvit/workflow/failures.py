"""What the command line says when a command or step fails, and its exit code: the one place where errors become messages.

Readers and steps raise the errors of `cellvit.errors`, which name the file, what is expected, what was found and the fix. What
the operating system and torch raise is translated here. Anything else is a fault of this program.
"""

import errno
import os
import traceback
from types import MappingProxyType
from typing import Final, NamedTuple

from cellvit import errors

_CODES: Final = MappingProxyType(
    {
        errors.SettingsError: 2,
        errors.MissingInputError: 3,
        errors.ContractError: 4,
        errors.StaleFileError: 4,
        errors.IntegrityError: 4,
        errors.BusyFolderError: 5,
    }
)
"""Exit code by the kind of error: the settings or the call, a missing file, a file or data that cannot be used, a folder that
another process uses. 2 is also what argparse answers to a wrong call."""

OTHER: Final = 1
"""Exit code of all other errors."""

FAULT: Final = 70
"""Exit code of a fault of this program (EX_SOFTWARE of sysexits.h)."""

_CANNOT_GROW: Final = 6
"""Exit code where a file cannot grow: the disk is full, or a quota or limit was reached."""

_SYSTEM: Final = MappingProxyType(
    {
        errno.ENOSPC: (_CANNOT_GROW, "Fix: free some space on this disk, or write to a folder on another one."),
        errno.EDQUOT: (_CANNOT_GROW, "Fix: remove files of yours until the quota suffices, or write to another disk."),
        errno.EFBIG: (_CANNOT_GROW, "Fix: raise the limit of the size of files (ulimit -f unlimited)."),
        errno.EROFS: (7, "Fix: this disk is mounted for reading only; write to another one."),
        errno.EACCES: (7, "Fix: change the permissions, or choose a folder in which you may write."),
        errno.EPERM: (7, "Fix: change the permissions, or choose a folder in which you may write."),
        errno.ENOENT: (3, "Fix: correct the name, or make the file again."),
        errno.ENOTDIR: (3, "Fix: a file stands where a folder is expected; correct the path."),
        errno.EISDIR: (3, "Fix: a folder stands where a file is expected; correct the path."),
        errno.EEXIST: (
            3,
            "Fix: a file, or a link to nothing, stands where a folder is expected; remove it, or correct the path.",
        ),
        errno.ELOOP: (3, "Fix: links lead in a circle there; correct them."),
        errno.ENAMETOOLONG: (3, "Fix: use shorter names of folders and files."),
        errno.ESTALE: (8, "Fix: the network disk was reconnected meanwhile; start again."),
        errno.EIO: (8, "Fix: the disk cannot be read or written there; check it, and copy the data to another one."),
    }
)
"""Exit code and fix by the error of the operating system."""


class Failure(NamedTuple):
    """The message for the user, without a traceback, and the exit code."""

    message: str
    code: int


def failure_of(error: BaseException) -> Failure:
    """What to say about an error that nobody caught."""
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, errors.CellvitError):
        return Failure(f"error: {error}{notes}", _CODES.get(type(error), OTHER))
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error, notes)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch
        fix = "Fix: use smaller batches or fewer threads, or a machine with more memory."
        return Failure(f"error: the memory was full: {_first_line(error)}{notes or f' {fix}'}", OTHER)
    if isinstance(error, UnicodeEncodeError) and "\udc80" <= error.object[error.start] <= "\udcff":
        return Failure(_of_name(error), _CODES[errors.ContractError])
    place = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        f"error: this is a fault of cellvit-optimus: {type(error).__name__}: {_first_line(error)} ({place.filename}, line "
        f"{place.lineno}).{notes} Fix: run it again with --debug at its end, and report what it prints.",
        FAULT,
    )


def _of_system(error: OSError, notes: str) -> Failure:
    code, fix = _SYSTEM.get(error.errno or 0, (OTHER, ""))
    written = error.filename2 if code == _CANNOT_GROW else None  # of a copy, whose source is the first name
    name = error.filename if written is None else written
    where = f"{os.fsdecode(name)}: " if name is not None else ""
    return Failure(f"error: {where}{error.strerror or error}.{notes} {fix}".rstrip(), code)


def _of_name(error: UnicodeEncodeError) -> str:
    """The name of a file in another encoding: Python keeps each byte that is not UTF-8 as such a character (PEP 383)."""
    line = next(line for line in error.object.splitlines() if any("\udc80" <= sign <= "\udcff" for sign in line))
    return (
        f"error: expected names of files and folders in UTF-8, found {os.fsencode(line)!r}. "
        "Fix: rename the file or folder with letters that the terminal shows."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]
