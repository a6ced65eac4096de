"""Stores under examination: their header, from the file or from the memory of removed ones, and their rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from cellvit.contracts.removed import StoreHeader
from cellvit.contracts.stores import Format
from cellvit.io.hdf5 import Store
from cellvit.io.removed import header_of
from cellvit.io.seals import said_of
from cellvit.verification.examining import Examination
from cellvit.verification.rows import hashed_again

_SHOWN: Final = 3
"""Wrong rows of a store that are named."""


class Stored(NamedTuple):
    """What a store says of itself; and the store, unless it was removed."""

    header: StoreHeader
    store: Store | None


@contextmanager
def stored(exam: Examination, fmt: Format, opener: Callable[[Path], Store]) -> Iterator[Stored | None]:
    """The store that is examined, open; None, with a fault, where it cannot be opened.

    Where the file is not there, but was removed by `clean_features`, its header is what is remembered of it.
    """
    header = exam.run.removed_header(exam.product)
    if header is not None and not exam.product.exists():
        exam.removed = True
        yield Stored(header, None)
        return
    store = exam.read(opener, f"a whole {fmt.name} store, version {fmt.version}")
    if store is None:
        yield None
        return
    with store:
        yield Stored(header_of(store), store)


def examine_rows(exam: Examination, found: Stored) -> None:
    """Hash every row again.

    The store is known by the content that its hashes tell, also where rows are damaged: what was made from it was made of
    rows with these hashes.
    """
    header, store = found
    if store is not None:
        rows = hashed_again(store, exam.run.progress)
        if rows.content_sha256 != header.content_sha256:
            exam.fault("content_sha256", rows.content_sha256, header.content_sha256)
            return
        for wrong in rows.wrong[:_SHOWN]:
            exam.fault(f"row {wrong.row}", wrong.expected, wrong.found)
        if len(rows.wrong) > _SHOWN:
            exam.fault("rows", "all as their hashes say", f"{len(rows.wrong)} of {len(store)} that are not")
    exam.run.know_store(exam.product, header)


def examine_store_seal(exam: Examination, found: Stored) -> None:
    """Hold the store's seal against what its header says."""
    header = found.header
    exam.seal(exam.run.layout.seal(exam.product), said_of(header.content_sha256, header.provenance))
