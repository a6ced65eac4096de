"""Simulated folds: official layout, marked, the same from the same seed, never over real data."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cellvit.data.pannuke import SIMULATED_MARK, FoldFiles, fold_files, read_types
from cellvit.data.simulate.fold import make_tile, plan_fold, write_fold
from cellvit.errors import ContractError
from cellvit.formats.digests import sha256_of
from cellvit.taxonomy import BACKGROUND_CHANNEL, ORGANS

TILES = 3
SEED = 11


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pannuke")


@pytest.fixture(scope="module")
def files(root: Path) -> FoldFiles:
    return write_fold(root, 2, tiles_per_fold=TILES, seed=SEED)


def test_fold_has_the_official_layout_and_dtypes(root: Path, files: FoldFiles) -> None:
    images, types, masks = (np.load(path) for path in (files.images, files.types, files.masks))

    assert files.images == root / "Fold 2" / "images" / "fold2" / "images.npy"
    assert (images.dtype, images.shape) == (np.float64, (TILES, 256, 256, 3))
    assert (masks.dtype, masks.shape) == (np.float64, (TILES, 256, 256, 6))
    assert (types.dtype.kind, types.shape) == ("U", (TILES,))
    assert 1 < images.max() <= 255
    assert read_types(files) == tuple(types)


def test_only_the_official_files_and_the_mark_remain(root: Path, files: FoldFiles) -> None:
    left = {path for path in (root / "Fold 2").rglob("*") if path.is_file()}

    assert left == {*files.by_name.values(), root / "Fold 2" / SIMULATED_MARK}


def test_mark_says_simulated_and_holds_the_hashes(root: Path, files: FoldFiles) -> None:
    mark = json.loads((root / "Fold 2" / SIMULATED_MARK).read_text())

    assert mark["simulated"] is True
    assert files.simulated
    assert (mark["seed"], mark["tiles"], mark["fold"]) == (SEED, TILES, 2)
    assert mark["sha256"] == {f"{name}.npy": sha256_of(path) for name, path in files.by_name.items()}


def test_any_tile_can_be_made_alone(files: FoldFiles) -> None:
    plan = plan_fold(2, tiles_per_fold=TILES, seed=SEED)[TILES - 1]

    tile = make_tile(plan, 2, TILES - 1, seed=SEED)

    np.testing.assert_array_equal(np.load(files.images)[TILES - 1], tile.image)
    np.testing.assert_array_equal(np.load(files.masks)[TILES - 1], tile.masks)


def test_same_seed_writes_the_same_bytes_over_an_earlier_simulation(root: Path, files: FoldFiles) -> None:
    before = {name: sha256_of(path) for name, path in files.by_name.items()}
    made: list[int] = []

    again = write_fold(root, 2, tiles_per_fold=TILES, seed=SEED, progress=made.append)

    assert {name: sha256_of(path) for name, path in again.by_name.items()} == before
    assert made == [1, 2, 3]


def test_folds_and_seeds_differ() -> None:
    def first(fold: int, seed: int) -> np.ndarray:
        return make_tile(plan_fold(fold, tiles_per_fold=TILES, seed=seed)[0], fold, 0, seed=seed).image

    assert (first(1, 0) != first(2, 0)).any()
    assert (first(1, 0) != first(1, 1)).any()


@pytest.mark.parametrize("tiles", [19, 20, 60, 190])
def test_every_organ_is_in_every_fold_of_nineteen_tiles_or_more(tiles: int) -> None:
    for fold in (1, 2, 3):
        plans = plan_fold(fold, tiles_per_fold=tiles, seed=0)
        counts = Counter(plan.organ for plan in plans)

        assert len(plans) == tiles
        assert set(counts) == set(ORGANS)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert 1 <= sum(plan.empty for plan in plans) <= max(1, 0.04 * tiles)


@pytest.mark.parametrize("tiles", [1, 5, 18])
def test_small_fold_holds_each_organ_at_most_once(tiles: int) -> None:
    organs = [plan.organ for plan in plan_fold(1, tiles_per_fold=tiles, seed=0)]

    assert len(set(organs)) == tiles


def test_organs_are_shuffled() -> None:
    organs = [plan.organ for plan in plan_fold(1, tiles_per_fold=57, seed=0)]

    assert organs != sorted(organs)
    assert len(set(organs[:19])) < 19


def test_empty_row_has_no_nucleus() -> None:
    plans = plan_fold(1, tiles_per_fold=19, seed=0)
    row = next(number for number, plan in enumerate(plans) if plan.empty)

    assert not make_tile(plans[row], 1, row, seed=0).masks[..., :BACKGROUND_CHANNEL].any()


def test_real_data_are_refused_with_the_remedy(tmp_path: Path) -> None:
    real = fold_files(tmp_path, 1).images
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")

    with pytest.raises(ContractError, match=r"SIMULATED\.json.*choose another folder"):
        write_fold(tmp_path, 1, tiles_per_fold=1, seed=0)

    assert real.read_bytes() == b"real"


def test_failure_leaves_no_array_behind(tmp_path: Path) -> None:
    def fail(made: int) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_fold(tmp_path, 1, tiles_per_fold=2, seed=0, progress=fail)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
