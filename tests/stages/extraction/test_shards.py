"""A fold that was extracted in shards is the fold in one piece."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from extracting import arguments, extract, in_shards

from cellvit.__main__ import main
from cellvit.formats.family import FAMILY_FEATURES, Member, write_family
from cellvit.formats.features import open_family_features, open_features, read_features
from cellvit.formats.hdf5 import as_names
from cellvit.formats.provenance import Provenance


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_fold_from_shards_is_the_fold_from_one_piece(
    tmp_path: Path, write_tiles: Callable[..., Path], count: int
) -> None:
    tiles, whole = write_tiles(list(range(9))), tmp_path / "whole" / "fold1.h5"
    expected = extract(tiles, whole, "--batch-size", "2")

    assert in_shards(tiles, tmp_path / "features", count, "--batch-size", "2") == expected

    rows = np.array([8, 0, 5, 3])
    with open_features(whole) as one, open_features(tmp_path / "features" / "fold1.h5") as many:
        first, second = read_features(one, rows), read_features(many, rows)
        assert one.provenance == many.provenance
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.cls, second.cls)
    with h5py.File(tmp_path / "features" / "fold1.h5") as file:  # as any other program reads it
        np.testing.assert_array_equal(file["tokens"][rows[0]], first.tokens[0])


def test_a_fold_whose_shard_is_gone_or_was_made_anew_is_stale_and_not_zero(
    tmp_path: Path, write_tiles: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tiles, root = write_tiles(list(range(4))), tmp_path / "features"
    in_shards(tiles, root, 2, "--batch-size", "1")
    check = ["check_features", *arguments(tiles, root / "fold1.h5")[1:], "--out", str(tmp_path / "check.json")]
    assert main(check) == 0

    extract(tiles, root / "shards" / "fold1_2of2.h5", "--shard", "2/2", "--batch-size", "1", seed=1)

    assert main(check) == 1
    message = capsys.readouterr().err
    assert "another version of" in message
    assert f"snakemake -- {root}/shards/fold1_2of2.h5" in message


def test_shards_of_different_tiles_are_not_joined(
    tmp_path: Path, write_tiles: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root, first = tmp_path / "features", write_tiles([0, 1, 2, 3], "a.h5")
    in_shards(first, root, 2)
    other = root / "shards" / "fold1_2of2.h5"
    extract(write_tiles([4, 5, 6, 7], "b.h5"), other, "--shard", "2/2")

    shards = [str(root / "shards" / "fold1_1of2.h5"), str(other)]
    assert main(["join_shards", "--shards", *shards, "--features", str(root / "fold1.h5")]) == 1

    message = capsys.readouterr().err
    assert "come from other tiles, weights or settings" in message
    assert f"snakemake -- {other}" in message


def test_a_family_reads_straight_from_the_shards_of_its_folds(tmp_path: Path, write_tiles: Callable[..., Path]) -> None:
    tiles, root = write_tiles(list(range(6))), tmp_path / "features"
    in_shards(tiles, root, 3, "--batch-size", "1")
    family, rows = tmp_path / "families" / "all" / "features.h5", np.array([0, 3, 5])
    names = {column: as_names(("",) * 3, "S16") for column in ("organ", "tile_id")}
    with open_features(root / "fold1.h5") as fold:
        expected = read_features(fold, rows)
        write_family(family, FAMILY_FEATURES, [Member(1, fold, rows)], names, Provenance(settings={"family": "all"}))

    with open_family_features(family) as store:
        assert [piece.path.name for piece in store.pieces] == [f"fold1_{k}of3.h5" for k in (1, 2, 3)]
        np.testing.assert_array_equal(read_features(store, np.arange(3)).tokens, expected.tokens)
        assert store.shape("tokens") == (3, 1, 1, 16, 16, 96)
    with h5py.File(family) as file:  # as any other program reads it
        np.testing.assert_array_equal(file["tokens"][()], expected.tokens)
        assert {Path(source.file_name).name for source in file["tokens"].virtual_sources()} == {
            f"fold1_{k}of3.h5" for k in (1, 2, 3)
        }
