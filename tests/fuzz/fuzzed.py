"""A format under test, and what may happen if one of its files is damaged."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from cellvit.errors import CellvitError, SettingsError
from cellvit.workflow.failures import FAULT, failure_of


class Format(NamedTuple):
    """One format that the project reads.

    Attributes:
        name: As docs/reliability.md lists it.
        write: Write a valid file, and what belongs to it, in an empty folder; its path.
        read: Read all that the project reads of it.
        has_digest: True if what is read is protected by digests, so that other values are a fault.
        is_remade: True if a damaged file is made again instead of refused (caches, unfinished work).
    """

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    has_digest: bool = False
    is_remade: bool = False


def outcome_of(case: Format, path: Path, expected: bytes) -> str:
    """Read a damaged file: "equal", "other values", "made again", or "refused: " and the kind of the error.

    Settings of several files are checked together, so that their errors name keys and no file.

    Raises:
        AssertionError: The error is not one for users, names no file or no fix, or other values were read in spite of a digest.
    """
    try:
        found = content_of(case.read(path))
    except Exception as error:
        return _refusal(error, path)
    if found == expected:
        return "equal"
    if case.is_remade and found == content_of(None):
        return "made again"
    assert not case.has_digest, f"{path.name}: other values were read in spite of a digest"
    assert not case.is_remade, f"{path.name}: other values were read, and not made again"
    return "other values"


def _refusal(error: Exception, path: Path) -> str:
    failure = failure_of(error)
    assert failure.code != FAULT, failure.message
    assert isinstance(error, SettingsError) or str(path.parent) in failure.message, f"no file: {failure.message}"
    assert "Fix:" in failure.message, f"no fix: {failure.message}"
    return f"refused: {type(error).__name__}" if isinstance(error, CellvitError) else "refused: OSError"


def content_of(value: Any) -> bytes:
    """Bytes by which two read values can be compared."""
    return pickle.dumps(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case np.ndarray():
            return (str(value.dtype), value.shape, value.tobytes())
        case BaseModel():
            return value.model_dump_json()
        case dict():
            return [(str(key), _plain(one)) for key, one in value.items()]
        case list() | tuple():
            return [_plain(one) for one in value]
    return repr(value)
