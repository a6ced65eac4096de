"""Content hashes of files, remembered by size and times so that an untouched file is read once.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cellvit.errors import IntegrityError, MissingInputError
from cellvit.formats.atomic import write_text

_BLOCK = 1 << 22


def sha256_of(path: Path, *, on_block: Callable[[int], object] | None = None) -> str:
    """Hex sha256 of the content of `path`; `on_block` is called with the bytes of each block that was read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if on_block is not None:
                on_block(len(block))
    return digest.hexdigest()


def remembered_sha256(
    paths: Iterable[Path], memory: Path, *, before_reading: Callable[[Path], object] | None = None
) -> dict[str, str]:
    """Hex sha256 of each file by name, read again only where size or a time of the file changed.

    The change time (ctime) counts too: content replaced with its modification time kept is noticed.

    Args:
        memory: JSON file that this function keeps; losing it costs one reading of the files.
        before_reading: Called with each file that is about to be read.

    Raises:
        FileNotFoundError: A file is not there.
    """
    known: dict[str, list[str]] = json.loads(memory.read_text()) if memory.exists() else {}
    found: dict[str, str] = {}
    fresh: dict[str, list[str]] = {}
    for path in paths:
        key, stamp = str(path.resolve()), _stamp(path)
        seen_stamp, sha256 = known.get(key, ("", ""))
        if seen_stamp != stamp:
            if before_reading is not None:
                before_reading(path)
            sha256 = sha256_of(path)
            fresh[key] = [stamp, sha256]
        found[str(path)] = sha256
    if fresh:
        write_text(memory, json.dumps({**known, **fresh}, indent=1, sort_keys=True))
    return found


def combined(hashes: dict[str, str]) -> str:
    """One hash of named hashes, independent of their order."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


class OwnHash(NamedTuple):
    """Hash that a file carries of itself, empty where it carries none; and the hash that it should carry."""

    carried: str
    actual: str


def check_as_written(path: Path, hashes: OwnHash) -> None:
    """Refuse a file that was changed after its step wrote it: figures made from it would be of no run.

    Raises:
        IntegrityError: The two hashes differ.
    """
    if hashes.carried != hashes.actual:
        raise IntegrityError(
            f"{path}: was changed after it was written.\n"
            f"  sha256: expected {hashes.carried or 'one, and it has none'}, found {hashes.actual}\n"
            f"Make it again: rm {path} && snakemake -- {path}"
        )


def check_table(path: Path, tables: Mapping[str, str], name: str) -> None:
    """Refuse a table other than the one that `tables` of its document names.

    Raises:
        MissingInputError: There is no file.
        IntegrityError: It was changed since, or is that of another document.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file. Make it: snakemake -- {path}")
    carried, actual = tables.get(name, ""), sha256_of(path)
    if carried != actual:
        raise IntegrityError(
            f"{path}: is not the table that its document was written with (changed since, or of another document).\n"
            f"  sha256: expected {carried or 'one, and the document names none'}, found {actual}\n"
            f"Make it again: rm {path} && snakemake -- {path}"
        )


def differences(then: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Each value that is not the same, then and now; empty where all are.

    Examples:
        >>> differences({"seed": 1, "epochs": 50}, {"seed": 1, "epochs": 60})
        'epochs: 50 then, 60 now'
    """
    keys = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    return "; ".join(f"{key}: {then.get(key)} then, {now.get(key)} now" for key in keys)
