"""Members of a family: rows of the folds' stores, read as if they were one store."""

import h5py
import numpy as np
import pytest

from cellvit.errors import StaleFileError
from cellvit.formats.content import provenance_of
from cellvit.formats.family import open_family, write_members
from cellvit.formats.features import FEATURES
from cellvit.formats.tiles import open_tiles, read_tiles
from cellvit.formats.writing import writing

ORGANS = {1: ["Colon", "Breast", "Colon"], 2: ["Breast", "Colon"]}


def write_features(path, tiles, n, *, blocks=1):
    with writing(
        path, FEATURES, n, {"views": 1, "blocks": blocks, "g": 2, "dim": 4}, provenance_of(path, [tiles], {})
    ) as writer:
        rng = np.random.default_rng(n)
        writer.append(
            cls=rng.normal(size=(n, 1, 4)).astype(np.float32),
            tokens=rng.normal(size=(n, 1, blocks, 2, 2, 4)).astype(np.float16),
        )


@pytest.fixture
def family(tmp_path, write_tile_store):
    """Paths of members, tiles and features of two folds, in the order of `open_family`."""
    paths = tuple([tmp_path / kind / f"fold{fold}.h5" for fold in ORGANS] for kind in ("families", "tiles", "features"))
    for fold, members, tiles, features in zip(ORGANS, *paths, strict=True):
        write_tile_store(tiles, fold, ORGANS[fold])
        write_features(features, tiles, len(ORGANS[fold]))
        write_members(members, fold=fold, organs=["Colon"], tiles=tiles, features=features)
    return paths


def test_a_family_reads_the_rows_of_its_organs_in_every_fold_without_copies(family):
    with open_family(*family) as data, open_tiles(family[1][1]) as second:
        batch = read_tiles(data.tiles, np.array([2, 1]))
        tokens = data.features.read("tokens", np.arange(3))
        direct = second.read("image", np.array([1]))

    np.testing.assert_array_equal(batch.image[0], direct[0])
    assert batch.tile_id == ("f2-00001", "f1-00002")
    assert data.rows_of_folds([2]).tolist() == [2]
    assert tokens.shape == (3, 1, 1, 2, 2, 4)
    assert data.tiles.shape("image") == (3, 256, 256, 3)
    assert family[0][0].stat().st_size < 20_000 < family[1][0].stat().st_size


def test_a_family_without_tiles_in_a_fold_is_empty_there(family):
    write_members(family[0][0], fold=1, organs=["Skin"], tiles=family[1][0], features=family[2][0])

    with open_family(*family) as data:
        assert data.fold.tolist() == [2]
        assert len(read_tiles(data.tiles, np.array([], int))) == 0


def test_a_family_of_every_organ_has_all_rows_but_those_that_are_left_out(family):
    for members, tiles, features, fold in zip(*family, ORGANS, strict=True):
        write_members(members, fold=fold, organs=None, tiles=tiles, features=features, left_out=["Breast"])

    with open_family(*family) as data:
        assert data.tiles.names("organ") == ("Colon", "Colon", "Colon")


def test_results_that_were_moved_as_a_whole_still_read(family, tmp_path):
    moved = tmp_path.parent / f"{tmp_path.name}_moved"
    tmp_path.rename(moved)
    paths = tuple([moved / path.relative_to(tmp_path) for path in kind] for kind in family)

    with open_family(*paths) as data:
        assert read_tiles(data.tiles, np.array([0])).image.any()


def test_rows_that_the_stores_do_not_hold_are_refused(family, write_tile_store):
    write_tile_store(family[1][1], 2, ["Breast", "Lung"])

    with pytest.raises(StaleFileError, match=r"lists rows that .* does not hold(.|\n)*Fix: rm"), open_family(*family):
        pass


@pytest.mark.parametrize("row", [-1, 3, 1])
def test_a_row_that_was_changed_by_hand_is_refused(family, row):
    with h5py.File(family[0][0], "r+") as file:
        file["row"][0] = row

    with pytest.raises(StaleFileError, match="lists rows"), open_family(*family):
        pass


def test_features_of_different_layout_are_refused(family):
    write_features(family[2][1], family[1][1], 2, blocks=2)
    write_members(family[0][1], fold=2, organs=["Colon"], tiles=family[1][1], features=family[2][1])

    with pytest.raises(StaleFileError, match="different settings"), open_family(*family):
        pass
