"""Decoded pixels that were used last, kept within a limit of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

import numpy as np
from jaxtyping import UInt8

CACHE_BYTES: Final = 64 * 2**20
"""Largest size of a cache (decision): a row of tiles across 80,000 px, decoded once where windows overlap."""

Pixels = UInt8[np.ndarray, "h w 3"]


class TileCache:
    """Pixels by a key; those that were not used for the longest time are dropped first."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._tiles: OrderedDict[Hashable, Pixels] = OrderedDict()
        self.n_bytes = 0

    def get(self, key: Hashable, make: Callable[[], Pixels]) -> Pixels:
        """The pixels of this key, made if they are not there."""
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        pixels = make()
        self._tiles[key] = pixels
        self.n_bytes += pixels.nbytes
        while self.n_bytes > self._limit_bytes:
            self.n_bytes -= self._tiles.popitem(last=False)[1].nbytes
        return pixels
