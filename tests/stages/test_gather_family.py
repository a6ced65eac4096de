import json
import logging

import numpy as np
import pytest

from cellvit.__main__ import main
from cellvit.formats.features import FEATURES, open_family_features
from cellvit.formats.writing import writing
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import open_targets, open_tiles, read_tiles


@pytest.fixture
def folds(tmp_path, write_tile_store):
    """Tile and feature stores of two folds, as paths."""

    def features_of(tiles, fold, *, taps=1):
        with open_tiles(tiles) as store:
            n, origin = len(store), Provenance(made_from={"tiles": store.content_sha256}, untrained_encoder=True)
        rng = np.random.default_rng(fold)
        path = tmp_path / "features" / f"fold{fold}.h5"
        with writing(path, FEATURES, n, {"views": 1, "taps": taps, "g": 2, "dim": 4}, origin) as writer:
            writer.append(
                cls=rng.normal(size=(n, 1, 4)).astype(np.float32),
                tokens=rng.normal(size=(n, 1, taps, 2, 2, 4)).astype(np.float16),
            )
        return path

    tiles = [
        write_tile_store(tmp_path / "tiles" / "fold1.h5", 1, ["Colon", "Breast", "Stomach"]),
        write_tile_store(tmp_path / "tiles" / "fold2.h5", 2, ["Breast", "Breast"], patients=["p1", "Müller"]),
    ]
    return tiles, [features_of(tiles[0], 1), features_of(tiles[1], 2)], features_of


def gather(out, tiles, features, organs):
    arguments = {
        "--settings": [json.dumps({"organs": organs})],
        "--family": ["digestive"],
        "--folds": ["1", "2"],
        "--fold-tiles": tiles,
        "--fold-features": features,
        "--features": [out / "features.h5"],
        "--targets": [out / "targets.h5"],
    }
    return main(["gather_family", *(str(part) for name, values in arguments.items() for part in (name, *values))])


def test_a_family_holds_its_organs_with_fold_and_row(tmp_path, folds):
    tiles, features, _ = folds

    assert gather(tmp_path / "digestive", tiles, features, ["Colon", "Stomach"]) == 0

    with open_targets(tmp_path / "digestive" / "targets.h5") as store:
        assert read_tiles(store, np.arange(2)).organ == ("Colon", "Stomach")
        assert store.all("fold").tolist() == [1, 1]
        assert store.all("row").tolist() == [0, 2]
    with open_family_features(tmp_path / "digestive" / "features.h5") as store:
        assert store.names("tile_id") == ("f1-00000", "f1-00002")
        assert store.provenance.marks == ("untrained encoder",)


def test_a_family_without_tiles_in_a_fold_is_said_and_gathered(tmp_path, folds, caplog):
    tiles, features, _ = folds

    with caplog.at_level(logging.WARNING):
        assert gather(tmp_path / "d", tiles, features, ["Colon"]) == 0

    assert "family=digestive has no tiles in fold 2" in caplog.text


def test_a_family_without_any_tile_is_empty(tmp_path, folds):
    tiles, features, _ = folds

    assert gather(tmp_path / "d", tiles, features, ["Skin"]) == 0

    with open_targets(tmp_path / "d" / "targets.h5") as store:
        assert len(store) == 0


def test_features_of_other_tiles_are_refused(tmp_path, folds, write_tile_store, capsys):
    tiles, features, _ = folds
    write_tile_store(tiles[1], 2, ["Breast", "Colon"])

    assert gather(tmp_path / "d", tiles, features, ["Colon"]) == 1

    said = capsys.readouterr().err
    assert "was extracted from other tiles" in said
    assert f"snakemake --forcerun extract_features -- {features[1]}" in said


def test_folds_of_different_layout_are_refused(tmp_path, folds, capsys):
    tiles, features, features_of = folds
    features_of(tiles[1], 2, taps=2)

    assert gather(tmp_path / "d", tiles, features, ["Colon"]) == 1

    assert "extracted with different settings" in capsys.readouterr().err


def test_a_fold_without_its_features_is_refused_before_anything_is_written(tmp_path, folds, capsys):
    tiles, features, _ = folds

    assert gather(tmp_path / "digestive", tiles, features[:1], ["Colon"]) == 1

    assert "--fold-features must have one entry for each of --folds, in the same order: 2 expected, found 1" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "digestive").exists()


def test_a_family_knows_the_patients_of_its_tiles(tmp_path, folds):
    tiles, features, _ = folds

    assert gather(tmp_path / "glandular", tiles, features, ["Breast"]) == 0

    with open_targets(tmp_path / "glandular" / "targets.h5") as store:
        assert store.names("patient") == ("", "p1", "Müller")
        assert read_tiles(store, np.array([2, 0])).patient == ("Müller", "")
