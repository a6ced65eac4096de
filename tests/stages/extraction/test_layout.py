"""A feature store says what made it, and lies on disk as its readers want it."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
from extracting import extract

from cellvit.config.encoders import FeaturesSettings
from cellvit.formats.features import open_features


def test_the_store_says_what_made_it(tmp_path: Path, write_tiles: Callable[..., Path]) -> None:
    path = tmp_path / "features" / "fold1.h5"
    extract(write_tiles([0]), path)

    with open_features(path) as store:
        made = json.loads(store.attribute("extraction") or "")

    assert set(made) == {"settings", "weights", "code", "block", "arithmetic", "software"}
    assert made["arithmetic"] == "torch.float32 on cpu"
    assert FeaturesSettings.model_validate(json.loads(made["settings"])["features"]) == FeaturesSettings()


def test_tokens_have_a_chunk_for_each_tile_view_and_tap_and_cls_lies_apart(
    tmp_path: Path, write_tiles: Callable[..., Path]
) -> None:
    path = tmp_path / "features" / "fold1.h5"
    extract(write_tiles([0, 1]), path)

    with h5py.File(path) as file:
        assert file["tokens"].chunks == (1, 1, 1, 16, 16, 96)
        assert file["tokens"].fletcher32
        assert file["tokens"].id.get_num_chunks() == 2
        assert file["cls"].chunks == (1, 1, 96)
