"""Opening files that others wrote: whatever is wrong with one becomes an error that names the file and the fix."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cellvit.errors import CellvitError, ContractError, MissingInputError
from cellvit.formats.not_a_file import not_a_file

_SHOWN: Final = 16
"""Bytes of a file that an error shows: enough to recognise a web page, text or another format."""

DOWNLOAD: Final = "Fix: export, copy or download the file again."


def check_file(path: Path, expected: str) -> bytes:
    """First bytes of a file, which must exist and not be empty.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not a file, is empty, or cannot be opened.
    """
    found = not_a_file(path)
    if found == "nothing":
        raise MissingInputError(f"{path}: the file does not exist. Expected {expected}. Fix: correct its name.")
    if found:
        raise ContractError(f"{path}: expected {expected}, found {found}. Fix: name the file itself.")
    with readable(path, expected), path.open("rb") as file:
        start = file.read(_SHOWN)
    if not start:
        raise ContractError(f"{path}: expected {expected}, found an empty file (0 bytes). {DOWNLOAD}")
    return start


@contextmanager
def readable(path: Path, expected: str, fix: str = DOWNLOAD) -> Iterator[None]:
    """Turn whatever a library raises while it reads `path` into a ContractError; our own errors pass unchanged.

    Readers of damaged files raise nearly anything (struct.error, KeyError, RuntimeError, MemoryError ...), so that every
    Exception is meant here.
    """
    try:
        yield
    except CellvitError:
        raise
    except Exception as error:
        lines = str(error).splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0][:160]}"
        raise ContractError(
            f"{path}: expected {expected}, but the file cannot be read ({reason}). {described(path)} {fix}"
        ) from error


def described(path: Path) -> str:
    """Size and first bytes of a file as a sentence, for errors."""
    try:
        with path.open("rb") as file:
            start = file.read(_SHOWN)
        return f"It has {path.stat().st_size:,} bytes and starts with {start!r}."
    except OSError as error:
        return f"It cannot be opened ({error.strerror})."
