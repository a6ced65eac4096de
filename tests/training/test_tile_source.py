"""Training batches from tiles in memory and from tiles that are read ahead are the same."""

import logging

import numpy as np
import pytest
import torch

from cellvit.data.batches import SampledRows, SampledViews
from cellvit.data.views import View
from cellvit.inference.stored_views import StoredViews
from cellvit.inference.tensors import shown
from cellvit.inference.tile_source import ResidentTiles, StreamedTiles, TrainingTiles, tile_source

CPU = torch.device("cpu")
STORED = StoredViews((View(0, 0), View(6, 0), View(0, 1)), colour_seed=3, colour_sigma=0.1)


@pytest.fixture
def read(open_family_data) -> TrainingTiles:
    """Five tiles of the family, in another order than in the store."""
    return TrainingTiles(open_family_data(n_views=3), np.array([6, 1, 4, 0, 2]), (0,), STORED, 3)


def plan() -> list[SampledRows]:
    views = SampledViews(np.array([0, 1, 2]), np.array([0, 0, 5])), SampledViews(np.array([2, 0]), np.array([0, 0]))
    return [SampledRows(np.array([4, 0, 6]), views[0]), SampledRows(np.array([1, 2]), views[1])]


def test_resident_tiles_give_the_batches_that_are_read(read):
    streamed = [shown(batch) for batch in StreamedTiles(read, CPU).batches(plan())]
    resident = [shown(batch) for batch in ResidentTiles.load(read, CPU).batches(plan())]

    assert [len(batch.tokens) for batch in resident] == [3, 2]
    for one, other in zip(streamed, resident, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_a_tile_that_is_not_resident_is_not_taken_for_another(read):
    tiles = ResidentTiles.load(read, CPU)
    views = SampledViews(np.array([0]), np.array([0]))

    with pytest.raises(AssertionError, match="row 3"):
        next(tiles.batches([SampledRows(np.array([3]), views)]))


def test_memory_of_resident_tiles_is_counted_as_it_is_taken(read):
    tiles = ResidentTiles.load(read, CPU)

    held = (tiles.tokens, tiles.image, tiles.instances, tiles.classes)
    assert read.resident_bytes == sum(tensor.nbytes for tensor in held)


def test_a_cpu_reads_tiles_for_every_step(read, caplog):
    with caplog.at_level(logging.INFO):
        source = tile_source(read, CPU)

    assert isinstance(source, StreamedTiles)
    assert "read from the disk for every step" in caplog.text
