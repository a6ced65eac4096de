"""One chunk of an image -> its candidates: reading, computing and decoding overlap.

A thread reads tiles some batches ahead. The device predicts them in batches that the chunk alone decides (a CPU several batches
at a time), and the windows whose tiles are complete are blended. Worker processes decode the windows; on a GPU, the windows of a batch are copied to the host
while the next batch is computed.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from cellvit.data.batches import read_ahead
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.formats.nuclei import NucleiTable
from cellvit.inference.lanes import in_lanes
from cellvit.inference.parallel import WORTH_A_POOL, Workers
from cellvit.inference.passes import block_size
from cellvit.inference.transfer import Landing, Transfer
from cellvit.models.encoder import check_range
from cellvit.prediction.blending import Blender
from cellvit.prediction.chunks import Chunk, Plan
from cellvit.prediction.decoding import WindowMaps, decoded
from cellvit.prediction.models import ReadyDecoder, TileMaps, TilePredictor
from cellvit.prediction.reading import TileReader
from cellvit.prediction.shards import Shard
from cellvit.prediction.windows import Window

Tile = tuple[int, int]
"""Row and column of a tile."""


@dataclass
class Clock:
    """Seconds of a prediction.

    Attributes:
        waiting: In which nothing but the decoding of windows was waited for.
    """

    total: float = 0.0
    waiting: float = 0.0


@dataclass(frozen=True, slots=True)
class Stream:
    """Predicts chunks of one image.

    Attributes:
        batch_size: Tiles that are predicted together; None chooses by the device.
        lanes: Batches that are predicted at a time (`cellvit.inference.lanes`).
        always_parallel: Use worker processes also where a chunk alone is not worth starting them.
    """

    pixels: ModelPixels
    plan: Plan
    predictor: TilePredictor
    pool: Workers
    batch_size: int | None = None
    lanes: int = 1
    always_parallel: bool = False
    clock: Clock = field(default_factory=Clock)

    def shard(self, chunk: Chunk) -> Shard:
        """Candidates of all windows of a chunk, row by row, and which of its tiles are unlike the training data."""
        run = _ChunkRun(self, chunk)
        pool = self.pool if self.always_parallel or len(run.windows) >= WORTH_A_POOL else Workers(None, 1)
        started, run_before = time.monotonic(), run.computing
        tables = list(pool.map(decoded, run.items()))
        seconds = time.monotonic() - started
        self.clock.total += seconds
        self.clock.waiting += seconds - (run.computing - run_before)
        return Shard(
            candidates=NucleiTable.concatenated(tables),
            tiles=np.array([(window.row, window.column) for window in run.windows], np.int32).reshape(-1, 2),
            unlike=np.array([run.unlike[window.row, window.column] for window in run.windows], bool),
            n_encoded=len(run.tiles),
        )

    def batch(self) -> int:
        """Tiles that are predicted together."""
        return block_size(self.predictor.ensemble.encoder, 1, self.batch_size)


class _Launched(NamedTuple):
    """A batch whose computation was started, and the windows that it completed."""

    tiles: list[Tile]
    judged: Landing
    windows: list[tuple[Window, UInt8[np.ndarray, "256 256 3"], Landing]]


class _ChunkRun:
    """The state of one chunk while it is predicted.

    Attributes:
        windows: Windows of the chunk; `tiles` are all that are blended into them.
        unlike: For each tile that was judged.
        computing: Seconds that `items` took, without what its reader did between two items.
    """

    def __init__(self, stream: Stream, chunk: Chunk) -> None:
        self._stream = stream
        self.windows, self.tiles = stream.plan.windows(chunk), stream.plan.tiles(chunk)
        columns = [column for _, column in self.tiles]
        grid, device = stream.plan.grid, stream.predictor.ensemble.device
        self._blender, self._transfer = Blender(grid, (min(columns), max(columns)), device), Transfer(device)
        place = {tile: number for number, tile in enumerate(self.tiles)}
        last = [(grid.rows.blended(w.row)[-1], grid.columns.blended(w.column)[-1]) for w in self.windows]
        self._waiting = deque(zip(self.windows, (place[tile] for tile in last), strict=True))
        self._images: dict[Tile, UInt8[np.ndarray, "256 256 3"]] = {}
        self.unlike: dict[Tile, bool] = {}
        self.computing = 0.0

    def items(self) -> Iterator[WindowMaps]:
        """Yield the maps of every window, in order, as they are completed."""
        batches = self._batches()
        while True:
            started = time.monotonic()
            found = next(batches, None)
            self.computing += time.monotonic() - started
            if found is None:
                return
            yield from found

    def _batches(self) -> Iterator[list[WindowMaps]]:
        size, launched = self._stream.batch(), deque[_Launched]()
        plan = [self.tiles[start : start + size] for start in range(0, len(self.tiles), size)]
        reader = TileReader(self._stream.pixels, self._stream.plan.grid, self.tiles)
        with (
            closing(read_ahead(reader.read, plan)) as batches,
            closing(in_lanes(self._predicted, batches, self._stream.lanes)) as predicted,
        ):
            for number, (images, found) in enumerate(predicted):
                launched.append(self._launched(plan[number], images, found, number * size))
                if len(launched) > self._transfer.pinned:
                    yield self._arrived(launched.popleft())
            while launched:
                yield self._arrived(launched.popleft())

    def _predicted(self, images: UInt8[np.ndarray, "b 256 256 3"]) -> TileMaps:
        return self._stream.predictor.predicted(self._transfer.sent(torch.from_numpy(images)))

    def _launched(
        self, tiles: list[Tile], images: UInt8[np.ndarray, "b 256 256 3"], found: TileMaps, first: int
    ) -> _Launched:
        self._images.update(zip(tiles, images, strict=True))
        self._blender.add(tiles, found.maps)
        windows = []
        while self._waiting and self._waiting[0][1] < first + len(tiles):
            window, _ = self._waiting.popleft()
            self._forget_before(window.row)
            maps = self._transfer.down((self._blender.window(window.row, window.column),))
            windows.append((window, self._images[window.row, window.column], maps))
        return _Launched(tiles, self._transfer.down((found.cls, found.largest)), windows)

    def _forget_before(self, row: int) -> None:
        """Free what no window from this row on needs."""
        self._blender.forget_before(self._stream.plan.grid.rows.blended(row)[0])
        for tile in [tile for tile in self._images if tile[0] < row]:
            del self._images[tile]

    def _arrived(self, batch: _Launched) -> list[WindowMaps]:
        cls, largest = batch.judged.arrays()
        check_range(float(largest))
        self.unlike.update(zip(batch.tiles, self._stream.predictor.ensemble.unlike(cls).tolist(), strict=True))
        return [self._item(*window) for window in batch.windows]

    def _item(self, window: Window, image: UInt8[np.ndarray, "256 256 3"], maps: Landing) -> WindowMaps:
        predictor, unlike = self._stream.predictor, self.unlike[window.row, window.column]
        decoders = predictor.fallback if unlike and predictor.fallback is not None else predictor.decoders
        (joined,) = maps.arrays()
        return WindowMaps(window, image, joined, decoders[0].watershed, temperature_of(decoders), unlike)


def temperature_of(decoders: Sequence[ReadyDecoder]) -> float:
    """Temperature of the averaged class probabilities: the mean over the bundles."""
    return sum(decoder.temperature for decoder in decoders) / len(decoders)
