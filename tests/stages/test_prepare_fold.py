import logging
from pathlib import Path

import numpy as np
import pytest

from cellvit.data.pannuke import SIMULATED_MARK, fold_files
from cellvit.errors import ContractError, IntegrityError
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import read_document
from cellvit.formats.tiles import FoldSummary, open_tiles, read_tiles
from cellvit.stages.prepare_fold import Arguments, run


@pytest.fixture
def prepare(tmp_path):
    """Run the step on the fold in a folder; the paths of its outputs."""

    def prepared(root: Path, *, mark: Path | None = None) -> tuple[Path, Path]:
        files, tiles = fold_files(root, 1), tmp_path / "tiles" / "fold1.h5"
        run(Arguments(fold=1, **files.inputs, mark=mark, tiles=tiles, summary=tiles.with_suffix(".json")))
        return tiles, tiles.with_suffix(".json")

    return prepared


def test_a_fold_becomes_a_tile_store(tmp_path, write_raw_fold, prepare, caplog):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Lung", "Skin"], empty_last=True)

    tiles, summary = prepare(root)

    with open_tiles(tiles) as store:
        batch, origin = read_tiles(store, np.arange(3)), store.provenance
    background = np.load(fold_files(root, 1).masks)[..., 5]
    assert batch.organ == ("Colon", "Lung", "Skin")
    assert batch.tile_id == ("f1-00000", "f1-00001", "f1-00002")
    assert batch.patient == ("", "", "")
    assert [int(tile.max()) for tile in batch.instances] == [3, 3, 0]
    assert set(np.unique(batch.classes[0])) == {0, 1, 2, 5}
    assert not batch.classes[background == 1].any()
    assert (batch.classes > 0).mean() < 0.05
    assert list(origin.made_from) == ["data:images", "data:types", "data:masks"]
    found = read_document(summary, FoldSummary)
    assert found.provenance == origin
    assert not origin.simulated
    assert found.nuclei_by_class == {"Neoplastic": 2, "Inflammatory": 2, "Connective": 0, "Dead": 0, "Epithelial": 2}
    assert found.empty_tiles == ("f1-00002",)
    assert found.n_patients == 0
    assert "patient" not in caplog.text


@pytest.mark.parametrize("given", [True, False])
def test_a_fold_with_the_mark_is_simulated_whether_the_mark_is_given_or_not(tmp_path, write_raw_fold, prepare, given):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"])
    mark = root / "Fold 1" / SIMULATED_MARK
    mark.write_text("{}")

    tiles, _ = prepare(root, mark=mark if given else None)

    with open_tiles(tiles) as store:
        assert store.provenance.simulated
        assert store.dataset.classes == PANNUKE.classes
        assert "PanNuke (simulated)" in store.dataset.licence_of_weights
        assert store.dataset.commercial_use  # nothing of PanNuke is in it, and its licence says nothing about it


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
        tiles, summary = prepare(root)

    with open_tiles(tiles) as store:
        batch = read_tiles(store, np.array([0]))
    assert len(np.unique(batch.instances)) == 4
    assert batch.classes[0, 12, 17] == 3
    found = read_document(summary, FoldSummary)
    assert (found.overlap_px, found.nuclei_painted_over) == (50 + 100, 1)
    assert "lost=1 tiles=f1-00000" in caplog.text


def test_equal_folds_give_equal_bytes(tmp_path, write_raw_fold, prepare):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Lung"])
    first = prepare(root)[0].read_bytes()

    assert prepare(root)[0].read_bytes() == first


def test_a_fold_without_tiles_is_an_empty_store(tmp_path, write_raw_fold, prepare):
    tiles, _ = prepare(write_raw_fold(tmp_path / "raw", 1, []))

    with open_tiles(tiles) as store:
        assert len(store) == 0


def test_patients_are_stored_with_their_tiles_and_counted(tmp_path, write_raw_fold, prepare, caplog):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"] * 4, patients=["p2", "p1", "", "p2"])

    with caplog.at_level(logging.WARNING):
        tiles, summary = prepare(root)

    with open_tiles(tiles) as store:
        assert store.names("patient") == ("p2", "p1", "", "p2")
        assert list(store.provenance.made_from) == ["data:images", "data:types", "data:masks", "data:patients"]
    found = read_document(summary, FoldSummary)
    assert (found.n_patients, found.n_tiles_without_patient) == (2, 1)
    assert "tiles without a patient: tiles=1 of 4" in caplog.text


def test_sources_are_stored_with_their_tiles_and_counted(tmp_path, write_raw_fold, prepare, caplog):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"] * 4, sources=["Lyon", "Bern", "", "Lyon"])

    with caplog.at_level(logging.WARNING):
        tiles, summary = prepare(root)

    with open_tiles(tiles) as store:
        assert store.names("source") == ("Lyon", "Bern", "", "Lyon")
        assert list(store.provenance.made_from) == ["data:images", "data:types", "data:masks", "data:sources"]
    assert read_document(summary, FoldSummary).tiles_by_source == {"Bern": 1, "Lyon": 2}
    assert "tiles without a source: tiles=1 of 4" in caplog.text


def test_class_channels_that_are_copies_of_each_other_stop(tmp_path, write_raw_fold, prepare):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"] * 12)
    masks = np.load(fold_files(root, 1).masks)
    masks[..., 3] = masks[..., 0]
    np.save(fold_files(root, 1).masks, masks)

    with pytest.raises(IntegrityError, match="overlapping_classes: 12 of 48 nuclei are covered"):
        prepare(root)


def test_images_of_half_the_range_are_refused(tmp_path, write_raw_fold, prepare):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"])
    np.save(fold_files(root, 1).images, np.load(fold_files(root, 1).images) // 2)

    with pytest.raises(ContractError, match=r"found 124 as the largest of the fold: the images are scaled to 0\.\.124"):
        prepare(root)


def fractional_id(masks: np.ndarray) -> np.ndarray:
    masks[1, 60, 64, 0] = 7.5
    return masks


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        pytest.param("types", lambda _: np.array(["Colon", "Brain"]), 'row 1 is "Brain"', id="no_such_organ"),
        pytest.param("patients", lambda _: np.array(["p1"]), r"expected names of patients \(2,\)", id="patients"),
        pytest.param("sources", lambda _: np.array([1, 2]), r"expected names of sources \(2,\)", id="sources"),
        pytest.param("masks", fractional_id, "in tile f1-00001", id="fractional_id_in_a_late_tile"),
    ],
)
def test_a_refused_fold_leaves_no_file(tmp_path, write_raw_fold, prepare, name, edit, message):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon", "Colon"], patients=["p1", "p2"], sources=["a", "b"])
    path = getattr(fold_files(root, 1), name)
    np.save(path, edit(np.load(path)))

    with pytest.raises(ContractError) as caught:
        prepare(root)

    assert caught.match(message)
    assert not (tmp_path / "tiles" / "fold1.h5").exists()
    assert not (tmp_path / "tiles" / "fold1.json").exists()


def half_zero(images: np.ndarray) -> np.ndarray:
    images[len(images) // 2 :] = 0
    return images


def binary(masks: np.ndarray) -> np.ndarray:
    masks[:, 100:110, 100:110, 0] = 1
    masks[..., :5] = masks[..., :5] > 0
    masks[..., 5] = masks[..., :5].sum(-1) == 0
    return masks


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        pytest.param("images", half_zero, "constant_image.*2 of 4.*f1-00002, f1-00003", id="half_is_zero"),
        pytest.param("images", lambda images: images * 0 + 255, "constant_image.*4 of 4", id="all_white"),
        pytest.param("masks", binary, "binary_masks: 4 of 4 nuclei of class Neoplastic", id="binary_masks"),
    ],
)
def test_broken_data_stops_and_leaves_no_file(tmp_path, write_raw_fold, prepare, name, edit, message):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"] * 4)
    path = getattr(fold_files(root, 1), name)
    np.save(path, edit(np.load(path)))

    with pytest.raises(IntegrityError, match=message):
        prepare(root)

    assert not (tmp_path / "tiles" / "fold1.h5").exists()
    assert not (tmp_path / "tiles" / "fold1.json").exists()


def test_bytes_after_the_array_are_refused(tmp_path, write_raw_fold, prepare):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"])
    with fold_files(root, 1).images.open("ab") as file:
        file.write(bytes(1 << 20))

    with pytest.raises(ContractError, match=r"images\.npy: the header says float64 \(1, 256, 256, 3\)"):
        prepare(root)


def test_what_the_checks_warn_of_is_logged_and_stands_in_the_summary(tmp_path, write_raw_fold, prepare, caplog):
    root = write_raw_fold(tmp_path / "raw", 1, ["Colon"])
    masks = np.zeros((1, 256, 256, 6))
    masks[0, 4:252, 4:252, 0] = 1
    masks[..., 5] = masks[..., 0] == 0
    np.save(fold_files(root, 1).masks, masks)

    with caplog.at_level(logging.WARNING):
        _, summary = prepare(root)

    (warning,) = read_document(summary, FoldSummary).warnings
    assert warning.startswith("resolution: The median diameter of 1 nuclei is 70 um")
    assert warning in caplog.text
