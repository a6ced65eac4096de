"""Training batches on a device: from tiles that stay in its memory, or that are read ahead and copied while it computes."""

import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float16, Int, Int32, Int64, UInt8
from torch import Tensor

from cellvit.data.batches import SampledRows, read_ahead, sampled_reader
from cellvit.formats.family import FamilyData
from cellvit.formats.features import read_tokens
from cellvit.formats.tiles import read_tiles
from cellvit.inference.stored_views import StoredViews
from cellvit.inference.tensors import Changes, StoredBatch, changes_of
from cellvit.inference.transfer import Transfer
from cellvit.taxonomy import TILE_PX

log = logging.getLogger(__name__)

_RESIDENT_SHARE: Final = 0.25
"""Tiles may take this share of the free memory of a GPU. The rest is for the activations of the decoder
(benchmarks/memory.py), and for trainings that start at the same time on the same card and see the same free memory. A fold
of PanNuke with the eight views of one block of H-optimus-0 takes 18 GB, a quarter of an H100."""

_TILE_BYTES: Final = TILE_PX**2 * (3 + 4 + 1)
"""Image, instances and classes."""

_READ_TILES: Final = 16
"""Tiles that are on the host at the same time while resident tiles are loaded: with 12 views of four blocks of 1,536
channels, 38 MB a tile are copied one view after another."""


class TrainingTiles(NamedTuple):
    """Which tiles a training reads, and what of them.

    Attributes:
        blocks: Positions in the features of the tokens that the decoder reads.
        n_views: The first views of the store are read.
    """

    data: FamilyData
    rows: Int[np.ndarray, " r"]
    blocks: tuple[int, ...]
    stored: StoredViews
    n_views: int

    @property
    def resident_bytes(self) -> int:
        """Memory of all of them."""
        *_, g, _, dim = self.data.features.shape("tokens")
        return len(self.rows) * (self.n_views * len(self.blocks) * g * g * dim * 2 + _TILE_BYTES)


@dataclass(frozen=True, slots=True)
class StreamedTiles:
    """Tiles that one thread reads ahead. HDF5 allows one reader at a time, so that further threads would only wait."""

    read: TrainingTiles
    device: torch.device

    def batches(self, plan: Iterable[SampledRows]) -> Generator[StoredBatch]:
        """Yield the batches of the plan on the device, in order; copies of the next ones overlap with the computation."""
        reader = sampled_reader(self.read.data.features, self.read.data.tiles, blocks=self.read.blocks)
        transfer = Transfer(self.device)
        return read_ahead(lambda rows: StoredBatch.of(reader(rows), self.read.stored).moved(transfer.sent), plan)


@dataclass(frozen=True, slots=True)
class ResidentTiles:
    """Tiles that are all in the memory of the device; for a batch, the host sends some numbers only.

    Attributes:
        place: Place of each row of the store among the resident tiles; -1 where it is none of them.
        tile_ids: Of the resident tiles.
    """

    tokens: Float16[Tensor, "n views blocks g g dim"]
    image: UInt8[Tensor, "n 256 256 3"]
    instances: Int32[Tensor, "n 256 256"]
    classes: UInt8[Tensor, "n 256 256"]
    place: Int[np.ndarray, " m"]
    tile_ids: tuple[str, ...]
    stored: StoredViews

    @classmethod
    def load(cls, read: TrainingTiles, device: torch.device) -> Self:
        """Read all tiles once and copy them to the device."""
        n, grid = len(read.rows), read.data.features.shape("tokens")[3:]
        tokens = torch.empty((n, read.n_views, len(read.blocks), *grid), dtype=torch.float16, device=device)
        image = torch.empty((n, TILE_PX, TILE_PX, 3), dtype=torch.uint8, device=device)
        instances = torch.empty((n, TILE_PX, TILE_PX), dtype=torch.int32, device=device)
        classes = torch.empty((n, TILE_PX, TILE_PX), dtype=torch.uint8, device=device)
        for start in range(0, n, _READ_TILES):
            part = slice(start, start + _READ_TILES)
            batch = read_tiles(read.data.tiles, read.rows[part])
            for held, array in ((image, batch.image), (instances, batch.instances), (classes, batch.classes)):
                held[part] = torch.from_numpy(array)
            for view in range(read.n_views):
                of_view = read_tokens(read.data.features, read.rows[part], view=view, blocks=read.blocks)
                tokens[part, view] = torch.from_numpy(of_view)
        place = np.full(len(read.data.tiles), -1)
        place[read.rows] = np.arange(n)
        return cls(tokens, image, instances, classes, place, read.data.tiles.names("tile_id", read.rows), read.stored)

    def batches(self, plan: Iterable[SampledRows]) -> Generator[StoredBatch]:
        """Yield the batches of the plan, in order."""
        transfer = Transfer(self.tokens.device)
        for rows, sampled in plan:
            places = self.place[rows]
            assert places.min() >= 0, f"row {rows[places.argmin()]} is not among the resident tiles"
            changes = changes_of(sampled, [self.tile_ids[place] for place in places], self.stored)
            at, view = (transfer.sent(torch.from_numpy(numbers)) for numbers in (places, sampled.stored))
            yield self.gathered(at, view, changes.moved(transfer.sent))

    def gathered(self, at: Int64[Tensor, " b"], view: Int64[Tensor, " b"], changes: Changes) -> StoredBatch:
        """The tiles at these places, with the tokens of these views."""
        image, instances, classes = self.image[at], self.instances[at], self.classes[at]
        return StoredBatch(self.tokens[at, view], image, instances, classes, changes)


TileSource = StreamedTiles | ResidentTiles


def tile_source(read: TrainingTiles, device: torch.device) -> TileSource:
    """Resident tiles if the free memory of a GPU allows it, else streamed ones, as always on a CPU.

    On a CPU, reading takes 2 ms a tile beside 300 to 1,200 ms for its step, in a thread of its own.
    """
    needed, free = read.resident_bytes, 0
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    if needed > _RESIDENT_SHARE * free:
        log.info("training tiles are read from the disk for every step; they take %.1f GB", needed / 1e9)
        return StreamedTiles(read, device)
    log.info("training tiles stay on the device; they take %.1f of %.1f GB of free memory", needed / 1e9, free / 1e9)
    return ResidentTiles.load(read, device)
