"""Frozen features of tiles, in a stream: reading, computing and copying overlap, and memory does not grow.

One thread reads tiles some blocks ahead (and on a CPU resizes them), the caller's thread launches forward passes, and
results come back to pinned memory while the next block is computed. Whoever writes them does so in a thread of its own
(`cellvit.inference.background`).
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from torch import Tensor

from cellvit.config.encoders import FeaturesSettings
from cellvit.data.batches import read_ahead
from cellvit.data.views import View, seen, views_of
from cellvit.errors import IntegrityError
from cellvit.formats.features import FeatureBatch
from cellvit.formats.hdf5 import Store
from cellvit.formats.tiles import names_at
from cellvit.inference.passes import Passes, block_size
from cellvit.inference.progress import reported
from cellvit.inference.transfer import Landing, Transfer
from cellvit.models.encoder import Encoder, check_range

Rows = Int[np.ndarray, " b"]
Known = Callable[[UInt8[np.ndarray, "b 32"]], FeatureBatch | None]
"""Features of a block that are there already, by the hashes of what the encoder is given of its tiles; None: compute."""


def _nothing(_: UInt8[np.ndarray, "b 32"]) -> None:
    """No block is known."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Tiles of one block as they are read: 8-bit images, or on a CPU the prepared images of each view."""

    rows: Rows
    input_sha256: UInt8[np.ndarray, "b 32"]
    tile_ids: tuple[str, ...]
    images: UInt8[Tensor, "b h w 3"] | None = None
    prepared: tuple[Float32[Tensor, "b 3 s s"], ...] = ()
    known: FeatureBatch | None = None


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A block whose passes are launched: for each view its parts."""

    block: _Block
    views: list[list[Landing]]


class Extraction:
    """Features of one tile store as the settings ask for them."""

    def __init__(self, encoder: Encoder, tiles: Store, features: FeaturesSettings) -> None:
        self._encoder, self._tiles, self._settings = encoder, tiles, features
        self._views = views_of(features)
        given = None if features.batch_size == "auto" else features.batch_size
        self.block_size = block_size(encoder, len(self._views), given)
        self._passes = Passes(encoder, shrinks=given is None)
        self._transfer = Transfer(encoder.device)

    def blocks(self, rows: range, *, known: Known = _nothing) -> Iterator[FeatureBatch]:
        """Yield the features of the tiles at `rows`, in order, a block at a time.

        Args:
            known: Asked for each block before it is computed.

        Raises:
            IntegrityError: A token is not finite, or too large for float16; a note names the rows.
            torch.OutOfMemoryError: A note names the remedy.
        """
        plan = [np.arange(start, min(start + self.block_size, rows.stop)) for start in rows[:: self.block_size]]
        return reported(self._landed(plan, known), "features extracted", len(rows))

    def of_rows(self, rows: Rows) -> FeatureBatch:
        """Features of the tiles at `rows`, in that order, in one block."""
        (batch,) = self._landed([rows], _nothing)
        return batch

    def _landed(self, plan: Sequence[Rows], known: Known) -> Iterator[FeatureBatch]:
        """Features of each block, one of which is computed while that before it travels to the host."""
        waiting: deque[_UnderWay] = deque()
        with closing(read_ahead(lambda rows: self._read(rows, known), plan)) as blocks:
            for block in blocks:
                waiting.append(self._launched(block))
                if len(waiting) > self._transfer.pinned:
                    yield self._arrived(waiting.popleft())
            while waiting:
                yield self._arrived(waiting.popleft())

    @torch.inference_mode()
    def _read(self, rows: Rows, known: Known) -> _Block:
        """In the reader's thread."""
        shape = (len(rows), *self._tiles.shape("image")[1:])
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self._transfer.pinned)
        self._tiles.read_into("image", rows, images.numpy())
        tile_ids = names_at(self._tiles, "tile_id", rows)
        hashes = self._input_sha256(images.numpy(), tile_ids)
        if (there := known(hashes)) is not None:
            return _Block(rows, hashes, tile_ids, known=there)
        if self._transfer.pinned:
            return _Block(rows, hashes, tile_ids, images=images)
        prepared = tuple(self._encoder.prepared(self._shown(images, tile_ids, view)) for view in self._views)
        return _Block(rows, hashes, tile_ids, prepared=prepared)

    def _launched(self, block: _Block) -> _UnderWay:
        if block.images is None:
            return _UnderWay(block, [self._passed(prepared) for prepared in block.prepared])
        images = self._transfer.up(block.images)
        return _UnderWay(block, [self._passed(self._shown(images, block.tile_ids, view)) for view in self._views])

    def _passed(self, images: Tensor) -> list[Landing]:
        return [self._transfer.down(tuple(part)) for part in self._passes.run(images)]

    def _arrived(self, under_way: _UnderWay) -> FeatureBatch:
        block = under_way.block
        if block.known is not None:
            return block.known
        parts = [[part.arrays() for part in view] for view in under_way.views]
        try:
            for _, _, largest in (part for view in parts for part in view):
                check_range(float(largest))
        except IntegrityError as error:
            error.add_note(f"in {self._tiles.path}, rows {block.rows[0]} to {block.rows[-1]}")
            raise
        cls, tokens = (_joined([[part[item] for part in view] for view in parts]) for item in (0, 1))
        return FeatureBatch(cls, tokens, block.input_sha256)

    def _shown(self, images: UInt8[Tensor, "b h w 3"], tile_ids: Sequence[str], view: View) -> Tensor:
        kept = self._settings
        return seen(images, tile_ids, view, seed=kept.colour_seed, sigma=kept.colour_sigma)

    def _input_sha256(self, images: np.ndarray, tile_ids: Sequence[str]) -> UInt8[np.ndarray, "b 32"]:
        """Hash of each image, and of its tile's id where colours are drawn by it."""
        drawn = any(view.colour for view in self._views)
        digests = [hashlib.sha256(tile_id.encode() if drawn else b"") for tile_id in tile_ids]
        for digest, image in zip(digests, images, strict=True):
            digest.update(image.data)
        joined = b"".join(digest.digest() for digest in digests)
        return np.frombuffer(joined, np.uint8).reshape(len(digests), -1)


def _joined(views: list[list[np.ndarray]]) -> np.ndarray:
    """Parts of each view -> (b, views, ...); no copy where there is one of each."""
    whole = [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in views]
    return whole[0][:, None] if len(whole) == 1 else np.stack(whole, axis=1)
