"""Digests (sha256) of files and arrays, and the check that a file is unchanged since it was written."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cellvit.errors import IntegrityError, MissingInputError

_BLOCK = 1 << 22


def sha256_of(path: Path) -> str:
    """Hex digest of the bytes of a file; of all files below it, by name, where `path` is a folder.

    Raises:
        MissingInputError: The file does not exist.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return combined({str(file.relative_to(path)): sha256_of(file) for file in files})
    if not path.exists():
        raise missing(path)
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def text_sha256(text: str) -> str:
    """Hex digest of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def arrays_sha256(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Hex digest of named arrays: names, dtypes, shapes and values, in order."""
    digest = hashlib.sha256()
    for name, values in arrays:
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def combined(values: Mapping[str, object]) -> str:
    """One digest of named values (anything that JSON can hold), independent of their order."""
    return text_sha256(json.dumps(values, sort_keys=True))


class OwnDigest(NamedTuple):
    """The digest that a file records of itself (empty where it records none), and the digest of what it holds."""

    recorded: str
    actual: str


def check_unchanged(path: Path, digests: OwnDigest) -> None:
    """Refuse a file that was changed after its step wrote it: values made from it would belong to no run.

    Raises:
        IntegrityError: The two digests differ.
    """
    if digests.recorded != digests.actual:
        raise IntegrityError(
            f"{path}: the file was changed after it was written.\n"
            f"  sha256: expected {digests.recorded[:12] or 'one, but the file records none'}, found {digests.actual[:12]}\n"
            f"Fix: {remake(path)}"
        )


def check_table(path: Path, tables: Mapping[str, str], name: str) -> None:
    """Refuse a table that is not the one whose digest its document records under `name`.

    Raises:
        MissingInputError: The file does not exist.
        IntegrityError: The table was changed, or belongs to another document.
    """
    recorded, actual = tables.get(name, ""), sha256_of(path)
    if recorded != actual:
        raise IntegrityError(
            f"{path}: the table was changed after it was written, or belongs to another document.\n"
            f"  sha256: expected {recorded[:12] or 'one, but the document records none'}, found {actual[:12]}\n"
            f"Fix: {remake(path)}"
        )


def missing(path: Path) -> MissingInputError:
    """The error for a product that does not exist."""
    return MissingInputError(f"{path}: the file does not exist. Fix: snakemake -- {shlex.quote(str(path))}")


def remake(path: Path) -> str:
    """How a product is made again, as a shell takes it: as a target of its own, it would be made with the settings of config.yaml."""
    return f"rm {shlex.quote(str(path))}  # then run snakemake again with the same settings"


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Each value that differs, before and now, in words; empty where all are equal.

    Examples:
        >>> differences({"seed": 1, "epochs": 50}, {"seed": 1, "epochs": 60})
        'epochs was 50 and is now 60'
    """
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return "; ".join(f"{key} was {before.get(key)} and is now {now.get(key)}" for key in keys)
