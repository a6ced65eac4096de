"""Features against the encoder's weights, where these are files here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cellvit.verification.features import feature_link, know_weights
from cellvit.verification.layout import Layout
from cellvit.verification.links import Link
from cellvit.verification.progress import Reading
from cellvit.verification.run import Run, Source

from cellvit.config.settings import Settings, load_settings
from cellvit.formats.digests import sha256_of
from cellvit.formats.features import FEATURES
from cellvit.formats.hdf5 import writing
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import open_tiles


@pytest.fixture
def judged(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Callable[..., Link]:
    """The link of features that say they were made with weights of that hash."""
    results = tmp_path / "results"
    with open_tiles(write_tile_store(results / "tiles/fold1.h5", 1, ["Colon"])) as tiles:
        content = tiles.content_sha256

    def judge(weights: Path | str, recorded: str, *, fold: int = 1, run: Run | None = None) -> Link:
        run = run or Run(settings(results, weights), Layout(settings(results, weights)), Reading(0), {})
        origin = Provenance(made_from={"tiles": content, "weights": recorded})
        sizes = {"views": 1, "taps": 1, "g": 2, "dim": 4}
        with writing(run.layout.features(fold), FEATURES, 1, sizes, origin) as writer:
            writer.append(cls=np.zeros((1, 1, 4), np.float32), tokens=np.zeros((1, 1, 1, 2, 2, 4), np.float16))
        run.know(Source(run.layout.tiles(fold)), content)
        know_weights(run)
        return feature_link(run, fold)

    return judge


def settings(results: Path, weights: Path | str) -> Settings:
    encoder = {"preset": "h-optimus-0" if weights == "hub" else "tiny-vit", "weights": str(weights)}
    return load_settings({"encoder": encoder, "results": str(results)})


def about_weights(link: Link) -> list[tuple[str, str]]:
    return [(fault.expected, fault.found) for fault in link.faults if fault.field == "made_from.weights"]


def test_features_of_the_weights_that_are_here_hold(judged: Callable[..., Link], tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")

    assert about_weights(judged(weights, sha256_of(weights))) == []


def test_a_folder_may_hold_other_files_beside_the_weights(judged: Callable[..., Link], tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "readme.md"):
        (folder / name).write_text(name)

    assert about_weights(judged(folder, sha256_of(folder / "model.safetensors"))) == []


def test_features_of_other_weights_are_named(judged: Callable[..., Link], tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"other weights")

    assert about_weights(judged(weights, "ab" * 32)) == [(sha256_of(weights), "ab" * 32)]


def test_weights_that_are_gone_are_named(judged: Callable[..., Link], tmp_path: Path) -> None:
    ((expected, found),) = about_weights(judged(tmp_path / "gone.safetensors", "ab" * 32))

    assert expected == "ab" * 32
    assert found == f"no file {tmp_path / 'gone.safetensors'}"


def test_folds_must_have_the_same_weights_of_the_hub(judged: Callable[..., Link], tmp_path: Path) -> None:
    of_hub = settings(tmp_path / "results", "hub")
    run = Run(of_hub, Layout(of_hub), Reading(0), {})

    first, second = judged("hub", "ab" * 32, run=run), judged("hub", "cd" * 32, fold=2, run=run)

    assert about_weights(first) == []
    assert about_weights(second) == [("ab" * 32, "cd" * 32)]
