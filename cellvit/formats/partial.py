"""Stores that are written over as many runs as it takes: a file with its places given, and a journal of what it holds.

Both lie in ``.partial/`` beside the store, under no declared name: Snakemake deletes the outputs of a job that failed,
and these must survive it. Every chunk has its place in the file before the first row is written, so that writing changes
no metadata and a writer that is killed at any moment leaves a file that opens. What it holds is believed by hash alone:
rows that the journal names are read back, and count where they hash to what it says.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from jaxtyping import UInt8

from cellvit.formats.digests import differences
from cellvit.formats.disk import Syncing, reserving
from cellvit.formats.hdf5 import ROW_SHA256, Format, check_space, create_columns, seal
from cellvit.formats.lock import locked
from cellvit.formats.provenance import Provenance
from cellvit.formats.rows import StoreWriter, row_sha256

log = logging.getLogger(__name__)

PARTIAL: Final = ".partial"
"""Folder of what is not finished, beside the outputs."""

_NO_CACHE: Final = {"rdcc_nbytes": 0}
"""Chunks go to the file when they are written, not when HDF5's cache is full."""

_READERS: Final = 3

Span = tuple[int, int, str]
"""First row, row after the last, hash of the rows' hashes."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a store will be.

    Attributes:
        fingerprint: What its rows are made from, by name; an unfinished store of another fingerprint is begun anew.
    """

    path: Path
    format: Format
    n: int
    sizes: Mapping[str, int]
    fingerprint: Mapping[str, str]

    @property
    def file(self) -> Path:
        """The unfinished store."""
        return self.path.parent / PARTIAL / self.path.name

    @property
    def journal(self) -> Path:
        """JSON lines: the fingerprint, then a `Span` for rows that are written."""
        return self.file.with_suffix(".jsonl")

    @property
    def head(self) -> dict[str, str]:
        """First line of the journal."""
        return {**self.fingerprint, "format": f"{self.format.name} {self.format.version}", "rows": str(self.n)} | {
            f"size of {axis}": str(size) for axis, size in self.sizes.items()
        }


@contextmanager
def continuing(store: Unfinished, origin: Provenance, **attributes: str) -> Iterator[StoreWriter]:
    """Yield a writer that goes on where an earlier run stopped; the store appears, whole, when the block ends well.

    Where it does not end well, what is written stays for the next run. Two runs at a time wait for each other.

    Args:
        attributes: Written into the header of the store.

    Raises:
        MissingInputError: The disk has too little space.
    """
    store.file.parent.mkdir(parents=True, exist_ok=True)
    with locked(store.file.with_suffix(".lock")):
        spans = _spans(store)
        if spans is None:
            _begin(store)
        row_bytes = store.file.stat().st_size // max(1, store.n)
        with (
            Syncing(store.file) as syncing,
            h5py.File(store.file, "r+", **_NO_CACHE) as file,
            store.journal.open("ab", buffering=0) as journal,
        ):

            def noted(start: int, hashes: UInt8[np.ndarray, "b 32"]) -> None:
                file.flush()
                span = (start, start + len(hashes), hashlib.sha256(hashes.tobytes()).hexdigest())
                journal.write(json.dumps(span).encode() + b"\n")
                syncing.wrote(row_bytes * len(hashes))

            writer = StoreWriter(file, store.format, store.n, on_rows=noted)
            _take(store, file, writer, spans or [])
            yield writer
            for name, value in attributes.items():
                file.attrs[name] = value
            seal(file, store.format, writer.content_sha256(), origin)
        store.file.replace(store.path)
        store.journal.unlink()


def _spans(store: Unfinished) -> list[Span] | None:
    """Rows that the journal says are written; None where there is nothing to go on from."""
    if not (store.journal.exists() and store.file.exists()):
        return None
    head, *spans = _lines(store.journal) or [{}]
    if not _opens(store.file):
        log.warning("begun anew, not continued store=%s because it is no readable HDF5 file", store.file)
        return None
    if differing := differences(head, store.head):
        log.warning("begun anew, not continued store=%s because %s", store.file, differing)
        return None
    latest = {start: (int(start), int(stop), str(sha256)) for start, stop, sha256 in spans}  # rows may be written again
    return [latest[start] for start in sorted(latest)]


def _lines(journal: Path) -> list[Any]:
    """Whole lines; one that was being written when its writer died is left out. No line where they are no JSON."""
    whole = journal.read_bytes().rpartition(b"\n")[0]
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError:
        return []


def _opens(file: Path) -> bool:
    try:
        with h5py.File(file, "r"):
            return True
    except OSError:
        return False


def _begin(store: Unfinished) -> None:
    """An empty store whose places are given; the journal comes last and makes it one that can be gone on from."""
    store.journal.unlink(missing_ok=True)
    store.file.unlink(missing_ok=True)
    check_space(store.file, store.format, store.n, store.sizes)
    with reserving(store.file) as blank, h5py.File(blank, "w", **_NO_CACHE) as file:
        create_columns(file, store.format, store.n, store.sizes, allocated=True)
    store.journal.write_bytes(json.dumps(store.head).encode() + b"\n")


def _take(store: Unfinished, file: h5py.File, writer: StoreWriter, spans: list[Span]) -> None:
    """Skip rows that are there, up to the first span that is not what the journal says; note where that was."""
    for start, stop, sha256 in spans:
        if start != writer.row:
            break
        hashes = _read_back(file, store.format, range(start, stop))
        if hashes is None or hashlib.sha256(hashes.tobytes()).hexdigest() != sha256:
            log.warning("written again, as they are damaged store=%s rows=%d-%d", store.file, start, stop - 1)
            break
        writer.skip(hashes)
    if spans:
        log.info("continued store=%s rows=%d of=%d", store.file, writer.row, store.n)


def _read_back(file: h5py.File, fmt: Format, rows: range) -> UInt8[np.ndarray, "b 32"] | None:
    """Hashes of rows as the file has them; None where it cannot be read."""
    names = [column.name for column in fmt.columns if column.name != ROW_SHA256]
    columns = {name: file[name] for name in names}
    try:
        with ThreadPoolExecutor(_READERS) as readers:  # HDF5 reads one at a time, hashing goes on beside it
            digests = list(
                readers.map(lambda row: row_sha256({name: data[row : row + 1] for name, data in columns.items()}), rows)
            )
        stored = file[ROW_SHA256][rows.start : rows.stop]
    except (OSError, KeyError):
        return None
    hashes = np.frombuffer(b"".join(digests), np.uint8).reshape(len(rows), -1)
    return hashes if np.array_equal(hashes, stored) else None
