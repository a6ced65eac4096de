"""Frozen features of tiles, in a stream: memory does not grow with their number."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import torch
from jaxtyping import Int
from tqdm import tqdm

from cellvit.contracts.records import FeatureBatch
from cellvit.errors import IntegrityError
from cellvit.io.hdf5 import Store
from cellvit.models.encoder import Encoder

log = logging.getLogger(__name__)

_REPORTS: Final = 10
"""Lines of progress in the log of one store."""


def extract(encoder: Encoder, tiles: Store, *, batch_size: int) -> Iterator[FeatureBatch]:
    """Yield the features of every tile of a store, in order, `batch_size` tiles at a time and one view each.

    Raises:
        IntegrityError: A token is not finite, or too large for float16; the message names the rows.
    """
    batches = (encode_rows(encoder, tiles, rows) for rows in tiles.blocks(batch_size))
    return _reported(batches, len(tiles))


def encode_rows(encoder: Encoder, tiles: Store, rows: Int[np.ndarray, " b"]) -> FeatureBatch:
    """Features of the tiles at `rows` in one forward pass."""
    images = torch.from_numpy(tiles.read("image", rows)).to(encoder.device)
    try:
        encoded = encoder(images)
    except IntegrityError as error:
        error.add_note(f"in {tiles.path}, rows {rows[0]} to {rows[-1]}")
        raise
    except torch.OutOfMemoryError as error:
        error.add_note(f"{len(rows)} tiles a forward pass are too many for {encoder.device}: lower features.batch_size")
        raise
    cls, tokens = encoded.cls.unsqueeze(1), encoded.tokens.unsqueeze(1)  # the one view: as the tile lies
    return FeatureBatch(cls=cls.cpu().numpy(), tokens=tokens.cpu().numpy())


def _reported(batches: Iterable[FeatureBatch], total: int) -> Iterator[FeatureBatch]:
    """The same batches; a bar shows them on a terminal, a line every tenth of them in the log."""
    start, done = time.perf_counter(), 0
    with tqdm(total=total, unit="tile", disable=not sys.stderr.isatty()) as bar:
        for batch in batches:
            yield batch
            before, done = done, done + len(batch)
            bar.update(len(batch))
            if done * _REPORTS // total > before * _REPORTS // total:
                rate = done / (time.perf_counter() - start)
                log.info("features extracted tiles=%d of=%d tiles_per_s=%.1f", done, total, rate)
