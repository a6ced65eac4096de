"""Features as a stream: those of a tile do not depend on blocks, views and threads."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.data.views import apply_view
from cellvit.errors import IntegrityError
from cellvit.formats.features import FeatureBatch
from cellvit.formats.hdf5 import Store
from cellvit.formats.tiles import open_tiles
from cellvit.inference.features import Extraction
from cellvit.inference.lanes import shared_out
from cellvit.models.encoder import Encoder, load_encoder

TilesOf = Callable[[int], Store]
BLOCKS = (1, 3)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), FeaturesSettings(blocks=BLOCKS), "cpu")


@pytest.fixture
def tiles_of(tmp_path: Path, write_tile_store: Callable[..., Path]) -> TilesOf:
    return lambda n: open_tiles(write_tile_store(tmp_path / "fold1.h5", 1, ["Colon"] * n))


def joined(batches: list[FeatureBatch]) -> FeatureBatch:
    return FeatureBatch(np.concatenate([b.cls for b in batches]), np.concatenate([b.tokens for b in batches]))


def extraction(encoder: Encoder, tiles: Store, **asked: object) -> Extraction:
    return Extraction(encoder, tiles, FeaturesSettings(**{"blocks": BLOCKS, "views": ("identity",), **asked}))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64, "auto"])
def test_blocks_cover_every_tile_in_order_and_do_not_change_its_features(
    encoder: Encoder, tiles_of: TilesOf, batch_size: int | str
) -> None:
    with tiles_of(5) as tiles:
        batches = list(extraction(encoder, tiles, batch_size=batch_size).blocks(range(5)))
        alone = joined([extraction(encoder, tiles).of_rows(np.array([row])) for row in range(5)])

    found = joined(batches)

    assert batch_size == "auto" or max(len(batch) for batch in batches) <= batch_size
    assert (found.cls.shape, found.tokens.shape) == ((5, 1, 96), (5, 1, 2, 16, 16, 96))
    np.testing.assert_allclose(found.cls, alone.cls, atol=1e-4)
    np.testing.assert_allclose(found.tokens.astype(np.float32), alone.tokens.astype(np.float32), atol=5e-3)


def test_features_do_not_depend_on_the_number_of_cores(encoder: Encoder, tiles_of: TilesOf) -> None:
    asked, before = FeaturesSettings(blocks=BLOCKS, batch_size=1), torch.get_num_threads()

    try:
        with tiles_of(5) as tiles:
            one, three = (
                joined(
                    list(Extraction(encoder, tiles, asked, lanes=shared_out(encoder.device, threads)).blocks(range(5)))
                )
                for threads in (1, 3)
            )
    finally:
        torch.set_num_threads(before)

    np.testing.assert_array_equal(one.tokens, three.tokens)
    np.testing.assert_array_equal(one.cls, three.cls)


def test_an_extraction_from_a_later_block_on_has_the_same_features(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(6) as tiles:
        stream = extraction(encoder, tiles, batch_size=2)
        whole, part = joined(list(stream.blocks(range(6)))), joined(list(stream.blocks(range(2, 6))))

    np.testing.assert_array_equal(part.tokens, whole.tokens[2:])
    np.testing.assert_array_equal(part.cls, whole.cls[2:])


def test_rows_are_encoded_in_the_order_asked_for(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(3) as tiles:
        forward = extraction(encoder, tiles).of_rows(np.array([0, 2]))
        backward = extraction(encoder, tiles).of_rows(np.array([2, 0]))

    np.testing.assert_allclose(forward.cls, backward.cls[::-1], atol=1e-5)
    assert np.abs(forward.cls[0] - forward.cls[1]).max() > 0.05


def test_each_view_is_the_transformed_tile_through_the_encoder(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(2) as tiles:
        (batch,) = extraction(encoder, tiles, views=("identity", "rotate90")).blocks(range(2))
        images = torch.from_numpy(tiles.read("image", np.arange(2)))

    transformed = encoder(apply_view(images, 1, axes=(1, 2)).contiguous())
    np.testing.assert_array_equal(batch.tokens[:, 1], transformed.tokens.numpy())
    np.testing.assert_array_equal(batch.cls[:, 1], transformed.cls.numpy())


def test_no_rows_give_no_block(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(0) as tiles:
        assert list(extraction(encoder, tiles).blocks(range(0))) == []


def test_a_stream_that_is_left_early_stops_its_reader(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(9) as tiles:
        stream = extraction(encoder, tiles, batch_size=1).blocks(range(9))

        assert len(next(stream)) == 1
        stream.close()  # type: ignore[attr-defined]

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_an_error_of_the_reader_ends_the_stream(encoder: Encoder, tiles_of: TilesOf) -> None:
    tiles = tiles_of(3)
    tiles.close()

    with pytest.raises(IntegrityError, match="`image`"):
        list(extraction(encoder, tiles, batch_size=1).blocks(range(3)))


def test_progress_is_logged_about_every_tenth(
    encoder: Encoder, tiles_of: TilesOf, caplog: pytest.LogCaptureFixture
) -> None:
    with tiles_of(24) as tiles, caplog.at_level(logging.INFO):
        list(extraction(encoder, tiles, batch_size=1).blocks(range(24)))

    lines = [record.message for record in caplog.records if "features extracted" in record.message]
    assert len(lines) == 10
    assert "tiles=24 of=24 tiles_per_s=" in lines[-1]


def test_tokens_out_of_range_say_which_rows(tiles_of: TilesOf) -> None:
    broken = load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), FeaturesSettings(), torch.device("cpu"))
    broken.model.norm.weight.fill_(1e6)

    with tiles_of(3) as tiles, pytest.raises(IntegrityError) as caught:
        list(Extraction(broken, tiles, FeaturesSettings(batch_size=2, views=("identity",))).blocks(range(3)))

    assert "rows 0 to 1" in caught.value.__notes__[0]
