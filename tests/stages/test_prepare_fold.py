import logging

import numpy as np
import pytest

from cellvit.__main__ import main
from cellvit.data.pannuke import fold_files
from cellvit.formats.documents import read_document
from cellvit.formats.tiles import FoldSummary, open_tiles, read_tiles


@pytest.fixture
def prepare(tmp_path):
    def run(root, fold=1):
        out = tmp_path / "tiles"
        paths = ["--tiles", str(out / "fold.h5"), "--summary", str(out / "fold.json")]
        code = main(["prepare_fold", "--root", str(root), "--fold", str(fold), *paths])
        return code, out / "fold.h5", out / "fold.json"

    return run


def test_a_fold_becomes_a_tile_store(tmp_path, write_raw_fold, prepare):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Lung", "Skin"], empty_last=True)

    code, tiles, summary = prepare(root)

    assert code == 0
    with open_tiles(tiles) as store:
        batch = read_tiles(store, np.arange(3))
    assert batch.organ == ("Colon", "Lung", "Skin")
    assert batch.tile_id == ("f1-00000", "f1-00001", "f1-00002")
    assert [int(tile.max()) for tile in batch.instances] == [3, 3, 0]
    assert set(np.unique(batch.classes[0])) == {0, 1, 2, 5}
    found = read_document(summary, FoldSummary)
    assert found.nuclei_by_class == {"Neoplastic": 2, "Inflammatory": 2, "Connective": 0, "Dead": 0, "Epithelial": 2}
    assert found.empty_tiles == ("f1-00002",)
    assert not found.provenance.simulated


def test_background_is_never_a_nucleus(tmp_path, write_raw_fold, prepare):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Colon"])

    _, tiles, _ = prepare(root)

    with open_tiles(tiles) as store:
        classes = read_tiles(store, np.arange(2)).classes
    background = np.load(fold_files(root, 1).masks)[..., 5]
    assert not classes[background == 1].any()
    assert (classes > 0).mean() < 0.05


def test_the_same_id_in_two_channels_is_two_nuclei_and_overlaps_are_counted(tmp_path, write_raw_fold, prepare, caplog):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"])
    masks = np.zeros((1, 256, 256, 6))
    masks[0, 10:20, 10:20, 0] = 5
    masks[0, 10:20, 15:25, 2] = 5
    masks[0, 50:60, 50:60, 1] = 8
    masks[0, 50:60, 50:60, 4] = 9
    masks[..., 5] = masks[..., :5].sum(-1) == 0
    np.save(fold_files(root, 1).masks, masks)

    with caplog.at_level(logging.WARNING):
        _, tiles, summary = prepare(root)

    with open_tiles(tiles) as store:
        batch = read_tiles(store, np.array([0]))
    assert len(np.unique(batch.instances)) == 4
    assert batch.classes[0, 12, 17] == 3
    found = read_document(summary, FoldSummary)
    assert (found.overlap_px, found.nuclei_painted_over) == (50 + 100, 1)
    assert "lost=1 tiles=f1-00000" in caplog.text


def test_a_refused_fold_leaves_no_file(tmp_path, write_raw_fold, prepare, capsys):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"])
    np.save(fold_files(root, 1).types, np.array(["Brain"]))

    code, tiles, summary = prepare(root)

    assert code == 1
    assert not tiles.exists()
    assert not summary.exists()
    assert "ContractError: " in capsys.readouterr().err


def test_equal_folds_give_equal_bytes(tmp_path, write_raw_fold, prepare):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Lung"])
    first = prepare(root)[1].read_bytes()

    assert prepare(root)[1].read_bytes() == first


def test_a_fold_without_tiles_is_an_empty_store(tmp_path, write_raw_fold, prepare):
    code, tiles, _ = prepare(write_raw_fold(tmp_path / "raw", 1, []))

    assert code == 0
    with open_tiles(tiles) as store:
        assert len(store) == 0


def test_fractional_ids_are_refused_with_the_tile(tmp_path, write_raw_fold, prepare, capsys):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Colon"])
    masks = np.load(fold_files(root, 1).masks)
    masks[1, 60, 64, 0] = 7.5
    np.save(fold_files(root, 1).masks, masks)

    code, _, _ = prepare(root)

    assert code == 1
    assert "in tile f1-00001" in capsys.readouterr().err


def test_patients_stand_beside_their_tiles_and_are_counted(tmp_path, write_raw_fold, prepare, caplog):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"] * 4, patients=["p2", "p1", "", "p2"])

    with caplog.at_level(logging.WARNING):
        _, tiles, summary = prepare(root)

    with open_tiles(tiles) as store:
        assert store.names("patient") == ("p2", "p1", "", "p2")
        assert list(store.provenance.made_from) == ["images", "types", "masks", "patients"]
    found = read_document(summary, FoldSummary)
    assert (found.n_patients, found.n_tiles_without_patient) == (2, 1)
    assert "tiles without a patient: tiles=1 of 4" in caplog.text


def test_a_fold_without_patients_says_nothing_of_them(tmp_path, write_raw_fold, prepare, caplog):
    with caplog.at_level(logging.WARNING):
        _, tiles, summary = prepare(write_raw_fold(tmp_path / "raw", 1, ["Colon"]))

    with open_tiles(tiles) as store:
        assert store.names("patient") == ("",)
        assert list(store.provenance.made_from) == ["images", "types", "masks"]
    assert read_document(summary, FoldSummary).n_patients == 0
    assert "patient" not in caplog.text


def test_patients_of_another_number_than_tiles_leave_no_file(tmp_path, write_raw_fold, prepare, capsys):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Colon"], patients=["p1"])

    code, tiles, _ = prepare(root)

    assert code == 1
    assert not tiles.exists()
    assert "patients.npy: expected names of patients (2,)" in capsys.readouterr().err
