"""Content hashes of files, remembered by size and times so that an untouched file is read once."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from cellvit.io.atomic import write_text

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
