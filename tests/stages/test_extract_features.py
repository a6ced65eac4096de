"""extract_features from a tile store to a feature store, as its rule calls it, and resumed after a kill."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.torch import save_file

from cellvit.__main__ import main
from cellvit.config.encoders import EncoderSettings, FeaturesSettings
from cellvit.config.settings import Settings
from cellvit.config.steps import ExtractFeaturesSettings, step_settings
from cellvit.formats.digests import sha256_of
from cellvit.formats.features import open_features, read_features
from cellvit.formats.tiles import open_tiles
from cellvit.formats.writing import PARTIAL
from cellvit.models.encoder import load_encoder

TINY = EncoderSettings(preset="tiny-vit", weights="random")


def arguments(
    tiles: Path, features: Path, encoder: EncoderSettings = TINY, *, batch_size: int | str = "auto", **kept: object
) -> list[str]:
    settings = Settings(encoder=encoder, features=FeaturesSettings(**{"views": ("identity",), **kept}))
    json = step_settings(settings, "extract_features")
    given = ["--settings", json, "--tiles", str(tiles), "--check", str(tiles), "--features", str(features)]
    return ["extract_features", *given, "--device", "cpu", "--batch-size", str(batch_size)]


def extract(tiles: Path, features: Path, encoder: EncoderSettings = TINY, **kept: object) -> int:
    return main(arguments(tiles, features, encoder, **kept))


@pytest.fixture
def tiles(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Path:
    return write_tile_store(tmp_path / "tiles" / "fold1.h5", 1, ["Colon", "Breast", "Liver"], simulated=True)


def test_the_store_holds_what_the_encoder_gives_and_where_it_came_from(tiles: Path, tmp_path: Path) -> None:
    path = tmp_path / "features" / "fold1.h5"

    assert extract(tiles, path, blocks=(0, 3), batch_size=2) == 0

    settings = ExtractFeaturesSettings(encoder=TINY, features=FeaturesSettings(blocks=(0, 3), views=("identity",)))
    with open_features(path) as features, open_tiles(tiles) as source:
        batch = read_features(features, np.arange(3))
        assert features.provenance.made_from == {"../tiles/fold1.h5": source.digest}
    assert batch.tokens.shape == (3, 1, 2, 16, 16, 96)
    assert batch.cls.std() == pytest.approx(1, abs=0.05)
    assert features.provenance.marks == ("simulated data", "untrained encoder")
    assert features.provenance.settings == settings.model_dump(mode="json")


def test_two_runs_give_the_same_content(tiles: Path, tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        extract(tiles, tmp_path / name)

    with open_features(tmp_path / "a.h5") as first, open_features(tmp_path / "b.h5") as second:
        assert first.content_sha256 == second.content_sha256


def test_a_local_weights_file_is_hashed_into_the_store(tiles: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    save_file(load_encoder(TINY, FeaturesSettings(), "cpu").model.state_dict(), weights)

    assert extract(tiles, tmp_path / "local.h5", EncoderSettings(preset="tiny-vit", weights=str(weights))) == 0
    assert extract(tiles, tmp_path / "random.h5") == 0

    with open_features(tmp_path / "local.h5") as local, open_features(tmp_path / "random.h5") as random:
        assert local.provenance.made_from["data:weights"] == sha256_of(weights)
        assert local.provenance.encoder_mark == ""
        assert local.content_sha256 == random.content_sha256


def test_an_extraction_that_was_killed_resumes_and_ends_equal(
    tmp_path: Path, write_tile_store: Callable[..., Path]
) -> None:
    tiles = write_tile_store(tmp_path / "tiles" / "fold1.h5", 1, ["Colon"] * 40)
    whole, path = tmp_path / "whole" / "fold1.h5", tmp_path / "features" / "fold1.h5"
    extract(tiles, whole, batch_size=2)
    partial = path.parent / PARTIAL / path.name

    killed = killed_after_rows(arguments(tiles, path, batch_size=2), partial, rows=6)
    absent = not path.exists()
    log = in_a_process(arguments(tiles, path, batch_size=2)).stderr

    assert killed.returncode == -signal.SIGKILL
    assert absent
    assert "resumed store=" in log
    assert path.read_bytes() == whole.read_bytes()


def in_a_process(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cellvit", *command], capture_output=True, text=True, check=True)


def killed_after_rows(command: list[str], partial: Path, *, rows: int) -> subprocess.Popen[bytes]:
    """Start the step in a process of its own and kill it once that many rows are written."""
    process = subprocess.Popen([sys.executable, "-m", "cellvit", *command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if partial.exists() and rows_in(partial) >= rows:
            process.kill()
        time.sleep(0.01)
    process.wait()
    return process


def rows_in(partial: Path) -> int:
    """Rows that have a digest, read without the lock that the writer holds."""
    with h5py.File(partial, "r", locking=False) as file:
        return int(file["sha256"][()].any(axis=1).sum())


def test_a_fold_without_tiles_gives_a_store_without_rows(tmp_path: Path, write_tile_store: Callable[..., Path]) -> None:
    empty = write_tile_store(tmp_path / "fold2.h5", 2, [])

    assert extract(empty, tmp_path / "features.h5") == 0

    with open_features(tmp_path / "features.h5") as features:
        assert features.shape("tokens") == (0, 1, 1, 16, 16, 96)


def test_a_failed_extraction_leaves_no_file(tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {
        name: value.clone() for name, value in load_encoder(TINY, FeaturesSettings(), "cpu").model.state_dict().items()
    }
    weights["norm.weight"] *= 1e6
    save_file(weights, tmp_path / "model.safetensors")

    status = extract(
        tiles, tmp_path / "out.h5", EncoderSettings(preset="tiny-vit", weights=str(tmp_path)), batch_size=2
    )

    assert status == 4
    assert "error: encoder: the largest token value" in (message := capsys.readouterr().err)
    assert "rows 0 to 1" in message
    assert not (tmp_path / "out.h5").exists()
