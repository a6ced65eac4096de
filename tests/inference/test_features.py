"""Features as a stream: each tile's own, whatever the batches."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.contracts.records import FeatureBatch
from cellvit.errors import IntegrityError
from cellvit.inference.features import encode_rows, extract
from cellvit.io.hdf5 import Store
from cellvit.io.tiles import open_tiles
from cellvit.models.encoder import Encoder, load_encoder

TilesOf = Callable[[int], Store]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), FeaturesSettings(taps=(1, 3)), "cpu")


@pytest.fixture
def tiles_of(tmp_path: Path, write_tile_store: Callable[..., Path]) -> TilesOf:
    return lambda n: open_tiles(write_tile_store(tmp_path / "fold1.h5", 1, ["Colon"] * n))


def joined(batches: list[FeatureBatch]) -> FeatureBatch:
    return FeatureBatch(np.concatenate([b.cls for b in batches]), np.concatenate([b.tokens for b in batches]))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_batches_cover_every_tile_in_order_and_do_not_change_its_features(
    encoder: Encoder, tiles_of: TilesOf, batch_size: int
) -> None:
    with tiles_of(5) as tiles:
        batches = list(extract(encoder, tiles, batch_size=batch_size))
        alone = joined([encode_rows(encoder, tiles, np.array([row])) for row in range(5)])

    found = joined(batches)

    assert max(len(batch) for batch in batches) <= batch_size
    assert (found.cls.shape, found.tokens.shape) == ((5, 1, 96), (5, 1, 2, 16, 16, 96))
    np.testing.assert_allclose(found.cls, alone.cls, atol=1e-4)
    np.testing.assert_allclose(found.tokens.astype(np.float32), alone.tokens.astype(np.float32), atol=5e-3)


def test_rows_are_encoded_in_the_order_asked_for(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(3) as tiles:
        forward = encode_rows(encoder, tiles, np.array([0, 2]))
        backward = encode_rows(encoder, tiles, np.array([2, 0]))

    np.testing.assert_allclose(forward.cls, backward.cls[::-1], atol=1e-5)
    assert np.abs(forward.cls[0] - forward.cls[1]).max() > 0.05


def test_a_store_without_tiles_gives_no_batch(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(0) as tiles:
        assert list(extract(encoder, tiles, batch_size=4)) == []


def test_nothing_is_encoded_before_it_is_asked_for(encoder: Encoder, tiles_of: TilesOf) -> None:
    with tiles_of(4) as tiles:
        stream = extract(encoder, tiles, batch_size=1)

        assert len(next(stream)) == 1
        stream.close()  # type: ignore[attr-defined]


def test_progress_is_logged_about_every_tenth(
    encoder: Encoder, tiles_of: TilesOf, caplog: pytest.LogCaptureFixture
) -> None:
    with tiles_of(24) as tiles, caplog.at_level(logging.INFO):
        list(extract(encoder, tiles, batch_size=1))

    lines = [record.message for record in caplog.records if "features extracted" in record.message]
    assert len(lines) == 10
    assert "tiles=24 of=24 tiles_per_s=" in lines[-1]


def test_tokens_out_of_range_say_which_rows(tiles_of: TilesOf) -> None:
    broken = load_encoder(EncoderSettings(preset="tiny-vit", weights="random"), FeaturesSettings(), torch.device("cpu"))
    broken.vit.norm.weight.fill_(1e6)

    with tiles_of(3) as tiles, pytest.raises(IntegrityError) as caught:
        list(extract(broken, tiles, batch_size=2))

    assert "rows 0 to 1" in caught.value.__notes__[0]
