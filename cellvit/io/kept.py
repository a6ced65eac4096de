"""The last finished features of a fold under a name of their own, so that what did not change is taken from there.

Snakemake deletes an output before the job that makes it anew. A hard link in ``.kept/`` beside it costs no space while
both are there, and lets the job take every block of tiles whose images are still the same.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int64, UInt8

from cellvit.contracts.records import FeatureBatch
from cellvit.contracts.stores import FEATURES, ROW_SHA256
from cellvit.errors import CellvitError
from cellvit.io.differences import differences
from cellvit.io.features import read_features
from cellvit.io.hdf5 import Store
from cellvit.io.rows import row_sha256
from cellvit.io.shards import SHARDS, fold_of

log = logging.getLogger(__name__)

KEPT: Final = ".kept"
"""Folder of the last finished stores, beside the stores."""

EXTRACTION: Final = "extraction"
"""Attribute of a feature store: what made its rows, as JSON."""


def keep(path: Path) -> None:
    """Keep a finished store; what was kept of its fold in another number of shards is forgotten."""
    kept = path.parent / KEPT / path.name
    kept.parent.mkdir(exist_ok=True)
    temporary = kept.with_name(f".{kept.name}.{os.getpid()}.link")
    try:
        temporary.hardlink_to(path)
        temporary.replace(kept)
    except OSError as error:
        log.warning("not kept for reuse, as the file system makes no hard links store=%s error=%s", path, error)
    finally:
        temporary.unlink(missing_ok=True)


def forget(path: Path, *, but: tuple[Path, ...] = ()) -> None:
    """Remove what is kept of a fold, except of the stores in `but`."""
    spared = {store.parent.resolve() / KEPT / store.name for store in but}
    for kept in _candidates(path):
        if kept.resolve() not in spared:
            kept.unlink(missing_ok=True)


class Kept:
    """Kept stores of a fold that were made in the same way, open for reading."""

    def __init__(self, stores: list[Store], block: int) -> None:
        self._stores, self._block = stores, block
        self._inputs = [store.all("input_sha256") for store in stores]
        self._starts = {
            inputs[row].tobytes(): (number, row)
            for number, inputs in enumerate(self._inputs)
            for row in range(0, len(inputs), block)
        }
        self.n_reused = 0

    def features(self, input_sha256: UInt8[np.ndarray, "b 32"]) -> FeatureBatch | None:
        """Features of a block of tiles, where a kept store has the same tiles as one of its blocks; else None.

        Whole blocks alone are taken: what shares a forward pass with a changed tile is computed again, so that the result
        is that of a full extraction to the last bit, whatever the arithmetic of a pass depends on.
        """
        number, start = self._starts.get(input_sha256[0].tobytes(), (0, -1))
        if start < 0 or not np.array_equal(self._inputs[number][start : start + self._block], input_sha256):
            return None
        store, rows = self._stores[number], np.arange(start, start + len(input_sha256))
        batch = _intact(store, rows, input_sha256)
        if batch is None:
            log.warning("computed again, as the kept rows are damaged store=%s rows=%d-%d", store.path, start, rows[-1])
            return None
        self.n_reused += len(rows)
        return batch


@contextmanager
def kept_of(path: Path, extraction: Mapping[str, str], *, block: int) -> Iterator[Kept]:
    """What is kept of the fold of `path` and was made as `extraction` says; the log says why anything else is not used."""
    with ExitStack() as stack:
        stores = []
        for candidate in _candidates(path):
            try:
                store = stack.enter_context(Store(candidate, FEATURES))
            except (CellvitError, OSError) as error:
                log.warning("kept features are not used store=%s because %s", candidate, str(error).splitlines()[0])
                continue
            made = json.loads(store.attribute(EXTRACTION) or "{}")
            if differing := differences(made, extraction):
                log.info("kept features are not used store=%s because %s", candidate, differing)
            else:
                stores.append(store)
        yield Kept(stores, block)


def _intact(
    store: Store, rows: Int64[np.ndarray, " b"], input_sha256: UInt8[np.ndarray, "b 32"]
) -> FeatureBatch | None:
    """Rows as they were stored; None where HDF5's checksum or the hash of a row says that they are not."""
    try:
        batch = read_features(store, rows)
    except OSError:
        return None
    found = [
        row_sha256({"cls": cls, "tokens": tokens, "input_sha256": given})
        for cls, tokens, given in zip(batch.cls, batch.tokens, input_sha256, strict=True)
    ]
    if b"".join(found) != store.read(ROW_SHA256, rows).tobytes():
        return None
    return FeatureBatch(batch.cls, batch.tokens, input_sha256)


def _candidates(path: Path) -> list[Path]:
    folder, fold = fold_of(path)
    whole = folder / KEPT / f"{fold}.h5"
    shards = sorted((folder / SHARDS / KEPT).glob(f"{fold}_*of*.h5"))
    return [whole, *shards] if whole.exists() else shards
