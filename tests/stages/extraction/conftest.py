"""Tiles of a small fold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellvit.formats.writing import writing
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles


@pytest.fixture
def write_tiles(tmp_path: Path) -> Callable[..., Path]:
    """Write a fold whose tile `row` shows image `shown[row]`."""

    def write(shown: list[int], name: str = "tiles.h5") -> Path:
        n = len(shown)
        images = [np.random.default_rng(number).integers(0, 256, (256, 256, 3), dtype=np.uint8) for number in shown]
        blank = np.zeros((n, 256, 256), np.int32)
        ids = tuple(f"f1-{row:05d}" for row in range(n))
        batch = TileBatch(np.stack(images), blank, blank.astype(np.uint8), ("Colon",) * n, ids)
        with writing(tmp_path / name, TILES, n, {}, Provenance()) as writer:
            append_tiles(writer, batch)
        return tmp_path / name

    return write
