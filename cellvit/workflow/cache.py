"""Result cache: the outputs of earlier runs by what decided them, so that a step which would repeat one takes it instead.

An entry is a folder named by its key, with the outputs and ``entry.json``. Small files are copied; large ones are cloned
where the file system can (reflink), else hard-linked, so that they take no space twice. Each file is compared with its
checksum before it is used: a damaged entry is removed and never served.
"""

import fcntl
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from cellvit.formats.atomic import write_text
from cellvit.formats.digests import combined, sha256_of, text_sha256

log = logging.getLogger(__name__)

FOLDER: Final = ".cellvit_cache"
"""Name of the cache, beside the output folder."""

_ENTRY: Final = "entry.json"
_COPIED_BYTES: Final = 16 << 20
"""Size up to which a file is copied: Snakemake sets the time of every output, and a copy keeps the other's time as it is."""

_FICLONE: Final = 0x40049409
"""Linux's request to clone a file (`ioctl_ficlone`)."""


class ResultCache:
    """Results by key in a folder, of `max_bytes` at most; what is also linked in results does not count."""

    def __init__(self, folder: Path, max_bytes: float) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    @classmethod
    def beside(cls, folder: Path, max_bytes: float, output: Path) -> "ResultCache | None":
        """The cache at `folder`; None, with a message, where files cannot be linked from there to `output`."""
        folder.mkdir(parents=True, exist_ok=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        probe, link = folder / f".probe.{os.getpid()}", output.parent / f".{output.name}.{os.getpid()}.probe"
        try:
            probe.touch()
            link.hardlink_to(probe)
        except OSError as error:
            log.warning("the result cache is skipped because files cannot be hard-linked: %s", error)
            return None
        finally:
            probe.unlink(missing_ok=True)
            link.unlink(missing_ok=True)
        return cls(folder, max_bytes)

    def restore(self, key: str, outputs: Mapping[str, Path]) -> bool:
        """Put the outputs of an entry into place; False where there is none, or where it is damaged."""
        entry = self._folder / key
        try:
            if not (entry / _ENTRY).is_file() or not self._is_intact(entry, outputs):
                return False
            for name, path in outputs.items():
                _place(entry / name, path)
            os.utime(entry / _ENTRY)  # used now
        except OSError as error:  # another process removed the entry, or the disk is full
            log.warning("the result cache cannot be used entry=%s error=%s", entry, error)
            return False
        return True

    def add(self, key: str, outputs: Mapping[str, Path]) -> None:
        """Keep the outputs under `key`; where that is not possible, the log says why, and the step is not affected."""
        entry, temporary = self._folder / key, self._folder / f".{key}.{os.getpid()}"
        try:
            temporary.mkdir()
            for name, path in outputs.items():
                _place(path, temporary / name)
            checksums = {name: sha256_of(temporary / name) for name in outputs}
            write_text(temporary / _ENTRY, json.dumps(checksums, indent=1, sort_keys=True))
            shutil.rmtree(entry, ignore_errors=True)
            temporary.rename(entry)
        except OSError as error:
            log.warning("not added to the result cache error=%s", error)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.trim()

    def trim(self) -> None:
        """Remove the least recently used entries until the limit is kept."""
        sizes: dict[Path, tuple[float, int]] = {}
        for path in self._folder.glob(f"[!.]*/{_ENTRY}"):
            with suppress(OSError):  # removed meanwhile
                found = [file.stat() for file in path.parent.iterdir()]
                own_bytes = sum(status.st_size for status in found if status.st_nlink == 1)
                sizes[path.parent] = (path.stat().st_mtime, own_bytes)
        total = sum(size for _, size in sizes.values())
        for entry, (_, size) in sorted(sizes.items(), key=lambda item: item[1][0]):
            if total <= self._max_bytes:
                return
            log.info("removed from the result cache, which is full entry=%s megabytes=%.1f", entry.name, size / 1e6)
            shutil.rmtree(entry, ignore_errors=True)
            total -= size

    def remembered_sha256(self, path: Path) -> str:
        """Checksum of a file's bytes, read again only where its size or one of its times changed."""
        return sha256_of(path) if path.is_dir() else self._remembered("bytes_sha256", path, sha256_of)

    def remembered_fault(self, path: Path, fault_of: Callable[[Path], str]) -> str:
        """What is wrong with a file by itself; empty if it is sound. It is read again only where it may have changed."""
        return self._remembered("fault", path, fault_of)

    def _remembered(self, what: str, path: Path, compute: Callable[[Path], str]) -> str:
        """What was computed from a file, by its size and times.

        The change time (ctime) counts too: content that was replaced with its modification time kept is noticed.
        """
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        memory = self._folder / "checksums" / f"{text_sha256(str(path.resolve()))[:32]}.{what}.json"
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            known = json.loads(memory.read_text(encoding="utf-8"))
            own = known.pop("sha256")
            if known["stamp"] == stamp and own == combined(known):
                return str(known[what])
        found = compute(path)
        fields = {"path": str(path), "stamp": stamp, what: found}
        write_text(memory, json.dumps(fields | {"sha256": combined(fields)}))
        return found

    def _is_intact(self, entry: Path, outputs: Mapping[str, Path]) -> bool:
        try:
            checksums = json.loads((entry / _ENTRY).read_text(encoding="utf-8"))
            intact = all(sha256_of(entry / name) == checksums[name] for name in outputs)
        except Exception as error:  # whatever is wrong with it, the entry cannot be used
            log.warning("damaged entry of the result cache entry=%s error=%s", entry.name, error)
            intact = False
        if not intact:
            log.warning("removed from the result cache, because its content is not what was added entry=%s", entry.name)
            shutil.rmtree(entry, ignore_errors=True)
        return intact


def _place(source: Path, target: Path) -> None:
    """Put the content of `source` at `target`, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if source.stat().st_size <= _COPIED_BYTES:
            shutil.copyfile(source, temporary)
        elif not _cloned(source, temporary):
            temporary.hardlink_to(source)
        os.utime(temporary)  # as new as if it had been computed now
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _cloned(source: Path, target: Path) -> bool:
    """Clone a file; False, and no target, where the file system cannot, or where the request is not known (macOS)."""
    if sys.platform != "linux":
        return False
    try:
        with source.open("rb") as read, target.open("wb") as written:
            fcntl.ioctl(written, _FICLONE, read.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True
