"""Simulated folds: the official layout, the mark, equal from equal seeds, real data never overwritten."""

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cellvit.config.data import SimulatedData
from cellvit.data.pannuke import FoldFiles, fold_files, read_types
from cellvit.data.simulate.fold import make_tile, plan_fold, write_fold
from cellvit.errors import ContractError, SettingsError
from cellvit.formats.digests import sha256_of
from cellvit.stages.simulate_pannuke import Arguments, run
from cellvit.taxonomy import ORGANS

TILES = 3
SEED = 11


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FoldFiles:
    return write_fold(tmp_path_factory.mktemp("pannuke"), 2, tiles_per_fold=TILES, seed=SEED)


def test_fold_has_the_official_layout_and_dtypes_and_the_mark(files: FoldFiles) -> None:
    images, types, masks = (np.load(path) for path in (files.images, files.types, files.masks))

    root = files.mark.parents[1]
    assert files.images == root / "Fold 2" / "images" / "fold2" / "images.npy"
    assert (images.dtype, images.shape) == (np.float64, (TILES, 256, 256, 3))
    assert (masks.dtype, masks.shape) == (np.float64, (TILES, 256, 256, 6))
    assert (types.dtype.kind, types.shape) == ("U", (TILES,))
    assert 1 < images.max() <= 255
    assert read_types(files) == tuple(types)
    mark = json.loads(files.mark.read_text())
    assert files.simulated
    assert (mark["simulated"], mark["seed"], mark["tiles"], mark["fold"]) == (True, SEED, TILES, 2)
    assert mark["sha256"] == {f"{name}.npy": sha256_of(path) for name, path in files.by_name.items()}
    assert {path for path in root.rglob("*") if path.is_file()} == {*files.by_name.values(), files.mark}


def test_every_tile_can_be_made_alone_and_tiles_seeds_and_folds_differ(files: FoldFiles) -> None:
    plan = plan_fold(2, tiles_per_fold=TILES, seed=SEED)[TILES - 1]

    tile, *others = (
        make_tile(plan, fold, row, seed=seed)
        for fold, row, seed in ((2, TILES - 1, SEED), (1, TILES - 1, SEED), (2, 0, SEED), (2, TILES - 1, 0))
    )

    np.testing.assert_array_equal(np.load(files.images)[TILES - 1], tile.image)
    np.testing.assert_array_equal(np.load(files.masks)[TILES - 1], tile.masks)
    assert all((other.image != tile.image).any() for other in others)


def test_equal_seeds_write_equal_bytes_over_an_earlier_simulation(files: FoldFiles) -> None:
    before = {name: sha256_of(path) for name, path in files.by_name.items()}
    made: list[int] = []

    again = write_fold(files.mark.parents[1], 2, tiles_per_fold=TILES, seed=SEED, progress=made.append)

    assert {name: sha256_of(path) for name, path in again.by_name.items()} == before
    assert made == [1, 2, 3]


@pytest.mark.parametrize("tiles", [5, 18, 19, 20, 60, 190])
def test_organs_are_shuffled_and_equally_frequent(tiles: int) -> None:
    for fold in (1, 2, 3):
        plans = plan_fold(fold, tiles_per_fold=tiles, seed=0)
        organs = [plan.organ for plan in plans]
        counts = Counter(organs)

        assert len(plans) == tiles
        assert len(counts) == min(tiles, len(ORGANS))
        assert max(counts.values()) - min(counts.values()) <= 1
        assert int(tiles >= len(ORGANS)) <= sum(plan.empty for plan in plans) <= max(1, 0.04 * tiles)
        assert organs != sorted(organs)


def test_real_data_are_refused_with_the_fix(tmp_path: Path) -> None:
    real = fold_files(tmp_path, 1).images
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")

    with pytest.raises(ContractError, match=r"SIMULATED\.json.*choose another folder"):
        write_fold(tmp_path, 1, tiles_per_fold=1, seed=0)

    assert real.read_bytes() == b"real"


def test_a_failure_leaves_no_array(tmp_path: Path) -> None:
    def fail(made: int) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_fold(tmp_path, 1, tiles_per_fold=2, seed=0, progress=fail)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_stage_writes_the_official_layout_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = fold_files(tmp_path, 3)
    outputs = {**files.by_name, "mark": files.mark}

    def stage(**changes: Path) -> None:
        run(Arguments(settings=SimulatedData(tiles_per_fold=1, seed=4), fold=3, **outputs | changes))

    with caplog.at_level(logging.INFO):
        stage()

    assert (len(read_types(files)), files.simulated) == (1, True)
    assert "fold=3 tiles=1 seed=4" in caplog.text
    with pytest.raises(SettingsError, match=r"--masks: expected .*Fold 3/masks/fold3/masks\.npy"):
        stage(masks=tmp_path / "masks.npy")
