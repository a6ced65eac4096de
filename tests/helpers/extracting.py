"""The stage `extract_features`, called as its rule does."""

from pathlib import Path

import pytest

from cellvit.__main__ import main
from cellvit.config.encoders import EncoderSettings
from cellvit.config.settings import Settings
from cellvit.config.steps import step_settings
from cellvit.formats.features import open_features


def arguments(tiles: Path, features: Path, *more: object, seed: int = 0) -> list[str]:
    settings = Settings(encoder=EncoderSettings(preset="tiny-vit", weights="random", seed=seed))
    given = ["--tiles", tiles, "--features", features, "--device", "cpu", *more]
    return ["extract_features", "--settings", step_settings(settings, "extract_features"), *map(str, given)]


def extract(tiles: Path, features: Path, *more: object, seed: int = 0) -> str:
    """Run the stage; the content hash of what it wrote."""
    assert main(arguments(tiles, features, *more, seed=seed)) == 0
    with open_features(features) as store:
        return store.content_sha256


def reused(caplog: pytest.LogCaptureFixture) -> int:
    """Tiles that the last extraction took over."""
    return int(
        next(r.message for r in reversed(caplog.records) if "features written" in r.message)
        .split("reused=")[1]
        .split()[0]
    )


def in_shards(tiles: Path, root: Path, count: int, *more: object) -> str:
    """Extract each shard, join them; the content hash of the fold."""
    shards = [root / "shards" / f"fold1_{number}of{count}.h5" for number in range(1, count + 1)]
    for number, shard in enumerate(shards, 1):
        assert main(arguments(tiles, shard, "--shard", f"{number}/{count}", *more)) == 0
    assert main(["join_shards", "--shards", *map(str, shards), "--features", str(root / "fold1.h5")]) == 0
    with open_features(root / "fold1.h5") as store:
        return store.content_sha256
