import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvit.data.batches import AHEAD, decoder_batches, read_ahead, sequential_rows, shuffled_rows
from cellvit.errors import ContractError
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.features import FEATURES, open_features
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import open_tiles
from cellvit.formats.writing import writing


@given(n=st.integers(0, 70), batch_size=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_row_is_in_exactly_one_batch_and_batches_differ_by_one_row_at_most(n, batch_size, seed):
    rows = 3 * np.arange(n)

    batches = shuffled_rows(rows, batch_size, np.random.default_rng(seed))

    assert sorted(row for batch in batches for row in batch.tolist()) == rows.tolist()
    assert len(batches) == -(-n // batch_size)
    sizes = [len(batch) for batch in batches] or [1]
    assert 0 < min(sizes) <= max(sizes) <= min(batch_size, min(sizes) + 1)


def test_the_order_depends_on_the_generator_alone_and_differs_between_epochs():
    def two_epochs():
        rng = np.random.default_rng(1)
        return [[batch.tolist() for batch in shuffled_rows(np.arange(40), 8, rng)] for _ in range(2)]

    epochs = two_epochs()

    assert epochs[0] != epochs[1]
    assert epochs == two_epochs()


def test_sequential_rows_keep_their_order():
    assert [batch.tolist() for batch in sequential_rows(np.array([4, 1, 9]), 2)] == [[4, 1], [9]]


def test_reading_is_a_few_items_ahead_and_closing_ends_the_thread():
    started = []

    stream = read_ahead(started.append, range(100))
    next(stream)
    time.sleep(0.05)
    stream.close()

    assert len(started) <= AHEAD + 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_an_error_of_the_reader_reaches_the_caller_at_its_item():
    def read(item):
        if item == 2:
            raise ContractError("row 2 is broken")
        return item

    stream = read_ahead(read, range(5))

    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ContractError, match="row 2 is broken"):
        next(stream)


@pytest.fixture
def stores(tmp_path, write_tile_store):
    tiles = write_tile_store(tmp_path / "tiles.h5", 1, ["Colon"] * 5)
    tokens = np.arange(5 * 3 * 2 * 2 * 4).reshape(5, 1, 3, 2, 2, 4).astype(np.float16)
    path, sizes = tmp_path / "features.h5", {"views": 1, "blocks": 3, "g": 2, "dim": 4}
    with writing(path, FEATURES, 5, sizes, Provenance(data_set=PANNUKE)) as out:
        out.append(cls=np.zeros((5, 1, 4), np.float32), tokens=tokens)
    with open_features(path) as features, open_tiles(tiles) as tile_store:
        yield features, tile_store, tokens


def test_a_batch_has_the_tokens_of_the_chosen_blocks_and_their_tiles(stores):
    features, tiles, tokens = stores

    (batch, last) = decoder_batches(features, tiles, [np.array([0, 3]), np.array([4])], blocks=(2, 0))

    assert batch.tiles.tile_id == ("f1-00000", "f1-00003")
    assert np.array_equal(batch.tokens, tokens[[0, 3], 0][:, [2, 0]])
    assert len(last) == 1


def test_stores_of_different_folds_are_refused(stores, tmp_path, write_tile_store):
    path = write_tile_store(tmp_path / "other.h5", 2, ["Colon"] * 2)

    with open_tiles(path) as others, pytest.raises(ContractError, match=r"has 5 tiles.*has 2"):
        decoder_batches(stores[0], others, [np.array([0])], blocks=(0,))
