"""Frozen features of tiles as a stream: reading, computing and copying overlap, and memory does not grow.

One thread reads tiles some blocks ahead (and on a CPU resizes them), the caller's thread launches forward passes, and
results are copied to pinned memory while the next block is computed. The caller writes them in a further thread
(`cellvit.inference.background`).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from cellvit.config.encoders import FeaturesSettings
from cellvit.data.batches import RowNumbers, read_ahead
from cellvit.data.views import View, seen, views_of
from cellvit.errors import IntegrityError
from cellvit.formats.features import FeatureBatch
from cellvit.formats.hdf5 import Rows
from cellvit.inference.lanes import in_lanes
from cellvit.inference.passes import Passes, block_size
from cellvit.inference.progress import reported
from cellvit.inference.transfer import Landing, Transfer
from cellvit.models.encoder import Encoder, check_range


class _Block(NamedTuple):
    """Tiles of one block as they are read: 8-bit images, or on a CPU the prepared images of each view."""

    rows: RowNumbers
    tile_ids: tuple[str, ...]
    images: UInt8[Tensor, "b h w 3"] | tuple[Float32[Tensor, "b 3 s s"], ...]


class _Launched(NamedTuple):
    """A block whose forward passes are launched: the parts of each view."""

    rows: RowNumbers
    views: list[list[Landing]]


class Extraction:
    """Features of one tile store by the given settings.

    Args:
        lanes: Blocks that are computed at a time (`cellvit.inference.lanes`).
    """

    def __init__(self, encoder: Encoder, tiles: Rows, features: FeaturesSettings, *, lanes: int = 1) -> None:
        self._encoder, self._tiles, self._settings, self._lanes = encoder, tiles, features, lanes
        self._views = views_of(features)
        given = None if features.batch_size == "auto" else features.batch_size
        self.block_size = block_size(encoder, len(self._views), given)
        self._passes = Passes(encoder, shrinks=given is None)
        self._transfer = Transfer(encoder.device)

    def blocks(self, rows: range) -> Iterator[FeatureBatch]:
        """Yield the features of the tiles at `rows`, in order, `block_size` tiles at a time.

        From a first row that is a multiple of `block_size` on, the features are those of an extraction of all rows.

        Raises:
            IntegrityError: A token is not finite, or too large for float16; a note names the rows.
            torch.OutOfMemoryError: A note names the fix.
        """
        plan = [np.arange(start, min(start + self.block_size, rows.stop)) for start in rows[:: self.block_size]]
        return reported(self._landed(plan), "features extracted", len(rows))

    def of_rows(self, rows: RowNumbers) -> FeatureBatch:
        """Features of the tiles at `rows`, in that order, in one block."""
        (batch,) = self._landed([rows])
        return batch

    def _landed(self, plan: Sequence[RowNumbers]) -> Iterator[FeatureBatch]:
        """Features of each block; one block is computed while the one before it is copied to the host."""
        waiting: deque[_Launched] = deque()
        with (
            closing(read_ahead(self._read, plan)) as blocks,
            closing(in_lanes(self._launched, blocks, self._lanes)) as launched,
        ):
            for _, block in launched:
                waiting.append(block)
                if len(waiting) > self._transfer.pinned:
                    yield self._arrived(waiting.popleft())
            while waiting:
                yield self._arrived(waiting.popleft())

    @torch.inference_mode()
    def _read(self, rows: RowNumbers) -> _Block:
        """Runs in the reader's thread."""
        shape = (len(rows), *self._tiles.shape("image")[1:])
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self._transfer.pinned)
        self._tiles.read_into("image", rows, images.numpy())
        tile_ids = self._tiles.names("tile_id", rows)
        if not self._transfer.computes_on_host:
            return _Block(rows, tile_ids, images)
        prepared = tuple(self._encoder.prepared(self._seen(images, tile_ids, view)) for view in self._views)
        return _Block(rows, tile_ids, prepared)

    def _launched(self, block: _Block) -> _Launched:
        if isinstance(block.images, tuple):
            views = iter(block.images)
        else:
            images = self._transfer.up(block.images)
            views = (self._seen(images, block.tile_ids, view) for view in self._views)
        passes = ([self._transfer.down(tuple(part)) for part in self._passes.run(view)] for view in views)
        return _Launched(block.rows, list(passes))

    def _arrived(self, block: _Launched) -> FeatureBatch:
        parts = [[part.arrays() for part in view] for view in block.views]
        try:
            for _, _, largest in (part for view in parts for part in view):
                check_range(float(largest))
        except IntegrityError as error:
            error.add_note(f"in {self._tiles.path}, rows {block.rows[0]} to {block.rows[-1]}")
            raise
        cls, tokens = (_joined([[part[item] for part in view] for view in parts]) for item in (0, 1))
        return FeatureBatch(cls, tokens)

    def _seen(self, images: UInt8[Tensor, "b h w 3"], tile_ids: Sequence[str], view: View) -> Tensor:
        settings = self._settings
        return seen(images, tile_ids, view, seed=settings.colour_seed, sigma=settings.colour_sigma)


def _joined(views: list[list[np.ndarray]]) -> np.ndarray:
    """Parts of each view -> (b, views, ...); nothing is copied if there is one part of one view."""
    whole = [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in views]
    return whole[0][:, None] if len(whole) == 1 else np.stack(whole, axis=1)
