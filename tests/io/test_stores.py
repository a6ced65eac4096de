import json

import h5py
import numpy as np
import pytest

from cellvit.errors import ContractError, MissingInputError, StaleFileError
from cellvit.formats.family import FAMILY_TARGETS, Member, write_family
from cellvit.formats.features import FEATURES, open_features, read_features, read_tokens
from cellvit.formats.hdf5 import Store, as_names
from cellvit.formats.writing import writing
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, open_targets, open_tiles, read_tiles

SIZES = {"views": 1, "taps": 2, "g": 4, "dim": 8}


def write_features(path, n=3, **changes):
    rng = np.random.default_rng(0)
    rows = {
        "cls": rng.normal(size=(n, 1, 8)).astype(np.float32),
        "tokens": rng.normal(size=(n, 1, 2, 4, 4, 8)).astype(np.float16),
        **changes,
    }
    with writing(path, FEATURES, n, SIZES, Provenance()) as writer:
        writer.append(**rows)
    return rows


def test_what_is_written_is_read_in_the_order_asked_for(tmp_path):
    rows = write_features(tmp_path / "f.h5")

    with open_features(tmp_path / "f.h5") as store:
        batch = read_features(store, np.array([2, 0]))
        grids = read_tokens(store, np.array([1]), view=0, taps=(1,))

    np.testing.assert_array_equal(batch.cls, rows["cls"][[2, 0]])
    np.testing.assert_array_equal(batch.tokens, rows["tokens"][[2, 0]])
    np.testing.assert_array_equal(grids, rows["tokens"][1:2, 0, 1:])


def test_equal_content_gives_equal_bytes(tmp_path):
    write_features(tmp_path / "a.h5")
    write_features(tmp_path / "b.h5")

    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_failed_writer_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), writing(tmp_path / "f.h5", FEATURES, 3, SIZES, Provenance()):
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_a_failed_writer_leaves_the_older_file_as_it_was(tmp_path):
    write_features(tmp_path / "f.h5")
    before = (tmp_path / "f.h5").read_bytes()

    with pytest.raises(RuntimeError), writing(tmp_path / "f.h5", FEATURES, 3, SIZES, Provenance()):
        raise RuntimeError

    assert (tmp_path / "f.h5").read_bytes() == before


def test_missing_rows_are_refused(tmp_path):
    with (
        pytest.raises(ContractError, match="4 rows announced, 0 written"),
        writing(tmp_path / "f.h5", FEATURES, 4, SIZES, Provenance()),
    ):
        pass


def test_more_rows_than_announced_are_refused(tmp_path):
    rows = write_features(tmp_path / "f.h5")

    def write_twice():
        with writing(tmp_path / "g.h5", FEATURES, 5, SIZES, Provenance()) as writer:
            writer.append(**rows)
            writer.append(**rows)

    with pytest.raises(ContractError, match="5 rows announced, more are written"):
        write_twice()


@pytest.mark.parametrize("processors", [1, 2, 3, 16])
def test_a_store_is_the_same_whoever_hashes_its_rows(tmp_path, monkeypatch, processors):
    write_features(tmp_path / "here.h5")
    monkeypatch.setattr("cellvit.formats.rows._processors", lambda: processors)
    write_features(tmp_path / "there.h5")

    assert (tmp_path / "here.h5").read_bytes() == (tmp_path / "there.h5").read_bytes()


def test_rows_of_another_dtype_are_refused(tmp_path):
    with pytest.raises(ContractError, match="`tokens` must be float16"):
        write_features(tmp_path / "f.h5", tokens=np.zeros((3, 1, 2, 4, 4, 8), np.float32))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(
            lambda f: f.attrs.__setitem__("complete", False), "mark of completeness is missing", id="incomplete"
        ),
        pytest.param(lambda f: f.attrs.__setitem__("format_version", 99), "version 99", id="version"),
        pytest.param(lambda f: f.attrs.__setitem__("format", "other"), "found other", id="format"),
        pytest.param(lambda f: f.__delitem__("cls"), "`cls` must be float32", id="column_gone"),
    ],
)
def test_a_store_that_breaks_its_format_is_refused_with_the_remedy(tmp_path, damage, said):
    path = tmp_path / "f.h5"
    write_features(path)
    with h5py.File(path, "r+") as file:
        damage(file)

    with pytest.raises(ContractError, match=said) as caught:
        open_features(path)

    assert f"rm {path} && snakemake -- {path}" in str(caught.value)


def test_a_truncated_store_is_refused(tmp_path):
    path = tmp_path / "f.h5"
    write_features(path)
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(ContractError, match="no readable HDF5 file"):
        open_features(path)


def test_flipped_bits_are_noticed_when_read(tmp_path):
    path = tmp_path / "f.h5"
    rows = write_features(path)
    data = bytearray(path.read_bytes())
    position = data.find(rows["tokens"][1, 0, 0].tobytes())
    data[position + 7] ^= 0xFF
    path.write_bytes(data)

    with open_features(path) as store, pytest.raises(OSError, match=r"fletcher32|checksum|filter"):
        store.read("tokens", np.array([1]))


def test_a_missing_store_says_how_to_make_it(tmp_path):
    with pytest.raises(MissingInputError, match="snakemake -- "):
        open_features(tmp_path / "none.h5")


def test_names_are_never_cut():
    with pytest.raises(ContractError, match="at most 16"):
        as_names(("f1-00000-and-much-more",), "S16")


def test_names_of_patients_are_utf8_and_measured_in_bytes():
    assert as_names(("Müller", ""), "S64").tolist() == ["Müller".encode(), b""]
    with pytest.raises(ContractError, match="at most 64 bytes of UTF-8"):
        as_names(("ü" * 33,), "S64")


def test_patients_of_tiles_are_read_as_written(tmp_path, write_tile_store):
    path = write_tile_store(tmp_path / "t.h5", 1, ["Lung"] * 3, patients=["Müller 2", "", "p1"])

    with open_tiles(path) as store:
        assert read_tiles(store, np.array([2, 1, 0])).patient == ("p1", "", "Müller 2")
        assert store.names("patient") == ("Müller 2", "", "p1")


def test_tiles_without_names_of_patients_have_empty_ones(tmp_path, write_tile_store):
    path = write_tile_store(tmp_path / "t.h5", 1, ["Lung"] * 2)

    with open_tiles(path) as store:
        assert read_tiles(store, np.arange(2)).patient == ("", "")


def test_a_tile_store_of_the_version_without_patients_is_refused_with_the_remedy(tmp_path, write_tile_store):
    path = write_tile_store(tmp_path / "t.h5", 1, ["Lung"])
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 1
        del file["patient"]

    with pytest.raises(ContractError, match="cellvit-tiles version 3, found cellvit-tiles version 1") as caught:
        open_tiles(path)

    assert f"rm {path} && snakemake -- {path}" in str(caught.value)


@pytest.fixture
def folds(tmp_path, write_tile_store):
    return [
        write_tile_store(tmp_path / "tiles" / "fold1.h5", 1, ["Colon", "Breast", "Colon"]),
        write_tile_store(tmp_path / "tiles" / "fold2.h5", 2, ["Breast", "Colon"]),
    ]


def gather(path, folds, rows):
    stores = [open_tiles(fold) for fold in folds]
    members = [
        Member(number, store, np.array(kept, int)) for number, store, kept in zip((1, 2), stores, rows, strict=True)
    ]
    write_family(path, FAMILY_TARGETS, members, {}, Provenance())
    for store in stores:
        store.__exit__(None, None, None)


def test_a_family_reads_through_to_its_folds(tmp_path, folds, monkeypatch):
    path = tmp_path / "families" / "digestive" / "targets.h5"
    gather(path, folds, [[0, 2], [1]])
    monkeypatch.chdir("/")

    with open_targets(path) as family, open_tiles(folds[1]) as second:
        batch = read_tiles(family, np.array([2, 1]))
        np.testing.assert_array_equal(batch.image[0], second.read("image", np.array([1]))[0])
        assert batch.tile_id == ("f2-00001", "f1-00002")
        assert family.rows_of_folds([2]).tolist() == [2]
        assert family.all("row").tolist() == [0, 2, 1]


def test_a_family_without_tiles_is_an_empty_store(tmp_path, folds):
    gather(tmp_path / "f.h5", folds, [[], []])

    with open_targets(tmp_path / "f.h5") as family:
        assert len(family) == 0
        assert len(read_tiles(family, np.array([], int))) == 0


def test_a_family_holds_no_copy(tmp_path, folds):
    gather(tmp_path / "f.h5", folds, [[0, 1, 2], [0, 1]])

    assert (tmp_path / "f.h5").stat().st_size < 60_000 < folds[0].stat().st_size


def test_a_family_whose_fold_changed_is_stale(tmp_path, folds, write_tile_store):
    gather(tmp_path / "f.h5", folds, [[0], [0]])
    write_tile_store(folds[1], 2, ["Breast", "Lung"])

    with pytest.raises(StaleFileError, match=r"gathered from another version(.|\n)*snakemake --forcerun gather_family"):
        open_targets(tmp_path / "f.h5")


def test_a_family_whose_fold_is_gone_is_stale_and_not_zero(tmp_path, folds):
    gather(tmp_path / "f.h5", folds, [[0], [0]])
    folds[0].unlink()

    with pytest.raises(StaleFileError, match="is gone"):
        open_targets(tmp_path / "f.h5")


def test_a_family_whose_fold_was_truncated_is_stale_and_the_remedy_removes_the_fold(tmp_path, folds):
    gather(tmp_path / "f.h5", folds, [[0], [0]])
    folds[0].write_bytes(folds[0].read_bytes()[:-1000])

    with pytest.raises(StaleFileError, match=rf"no readable HDF5 file(.|\n)*rm {folds[0]} && snakemake -- {folds[0]}"):
        open_targets(tmp_path / "f.h5")


def test_results_moved_as_a_whole_still_read(tmp_path, folds):
    gather(tmp_path / "families" / "a.h5", folds, [[0], [1]])
    (tmp_path / "moved").mkdir()
    for name in ("families", "tiles"):
        (tmp_path / name).rename(tmp_path / "moved" / name)

    with open_targets(tmp_path / "moved" / "families" / "a.h5") as family:
        assert read_tiles(family, np.array([0])).image.any()


def test_the_header_says_what_a_store_was_made_from(tmp_path, write_tile_store):
    path = write_tile_store(tmp_path / "t.h5", 1, ["Lung"], simulated=True)

    with h5py.File(path) as file:
        header = dict(file.attrs)
    with Store(path, TILES) as store:
        marks = store.provenance.marks

    assert (header["format"], header["format_version"], bool(header["complete"])) == ("cellvit-tiles", 3, True)
    assert json.loads(header["provenance"])["made_from"] == {"images": "1" * 64}
    assert marks == ("simulated data",)
