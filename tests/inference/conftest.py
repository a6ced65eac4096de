"""Small tile stores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellvit.contracts.provenance import Provenance
from cellvit.contracts.records import TileBatch
from cellvit.contracts.stores import TILES
from cellvit.io.hdf5 import writing
from cellvit.io.tiles import append_tiles


def _write_tiles(path: Path, n: int, *, seed: int = 0, simulated: bool = True) -> Path:
    """A tile store of `n` tiles without nuclei: patches of 16 px in one colour each."""
    patches = np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), np.uint8)
    empty = np.zeros((n, 256, 256), np.int32)
    batch = TileBatch(
        image=patches.repeat(16, axis=1).repeat(16, axis=2),
        instances=empty,
        classes=empty.astype(np.uint8),
        organ=("Colon",) * n,
        tile_id=tuple(f"f1-{row:05d}" for row in range(n)),
    )
    with writing(path, TILES, n, {}, Provenance(simulated=simulated)) as writer:
        append_tiles(writer, batch)
    return path


@pytest.fixture(scope="session")
def write_tiles() -> Callable[..., Path]:
    """Writes a tile store: path, number of tiles; seed and mark as options."""
    return _write_tiles
