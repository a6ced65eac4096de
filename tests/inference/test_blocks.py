from collections.abc import Callable, Iterator

import numpy as np
import pytest

from cellvit.errors import ContractError, StaleFileError
from cellvit.formats.features import FEATURES, open_features
from cellvit.formats.hdf5 import Store, writing
from cellvit.formats.provenance import Provenance
from cellvit.inference.blocks import check_same_encoder, encoder_record, stored_blocks, block_positions


def settings_of(taps: list[int] | None, *, input_px: int = 224) -> dict[str, object]:
    return {
        "encoder": {"preset": "tiny-vit", "weights": "random"},
        "features": {"input_px": input_px, "taps": taps},
        "organs": ["Colon"],
    }


@pytest.fixture
def open_store(tmp_path) -> Iterator[Callable[..., Store]]:
    opened: list[Store] = []

    def make(settings: dict[str, object], n_taps: int) -> Store:
        path = tmp_path / f"{len(opened)}.h5"
        sizes = {"views": 1, "taps": n_taps, "g": 2, "dim": 4}
        with writing(path, FEATURES, 1, sizes, Provenance(settings=settings)) as writer:
            writer.append(cls=np.zeros((1, 1, 4), np.float32), tokens=np.zeros((1, 1, n_taps, 2, 2, 4), np.float16))
        opened.append(open_features(path))
        return opened[-1]

    yield make
    for store in opened:
        store.__exit__(None, None, None)


def test_positions_follow_the_order_that_the_decoder_asks_for(open_store):
    store = open_store(settings_of([0, 2, 3]), 3)

    assert stored_blocks(store) == (0, 2, 3)
    assert block_positions(store, (3, 0)) == (2, 0)


def test_without_taps_in_the_settings_the_last_block_is_kept(open_store):
    assert stored_blocks(open_store(settings_of(None), 1)) == (3,)


def test_a_store_that_names_no_encoder_counts_its_taps(open_store):
    store = open_store({}, 2)

    assert stored_blocks(store) == (0, 1)
    assert encoder_record(store) == {}


def test_a_missing_block_is_named_with_the_remedy(open_store):
    with pytest.raises(StaleFileError, match=r"reads blocks \[1\], the store holds \[0, 2\]. Set features.taps"):
        block_positions(open_store(settings_of([0, 2]), 2), (1,))


def test_tokens_that_contradict_their_settings_are_refused(open_store):
    with pytest.raises(ContractError, match=r"name the blocks \[0, 2\], its tokens have 3 taps"):
        stored_blocks(open_store(settings_of([0, 2]), 3))


def test_other_taps_and_batches_are_no_other_encoder(open_store):
    record = encoder_record(open_store(settings_of([0]), 1))

    refused = check_same_encoder(open_store(settings_of([0, 1]), 2), {**record, "taps": [0]})

    assert refused is None


def test_another_input_size_is_refused_and_named(open_store):
    record = encoder_record(open_store(settings_of([0]), 1))

    with pytest.raises(StaleFileError, match="input_px: decoder has 224, file has 448"):
        check_same_encoder(open_store(settings_of([0], input_px=448), 1), record)
