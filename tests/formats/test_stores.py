"""HDF5 stores: written whole or not at all, read as written, refused where something is wrong."""

import json

import h5py
import numpy as np
import pytest

from cellvit.errors import ContractError, IntegrityError, MissingInputError
from cellvit.formats.dataset import NOT_ANNOTATED, PANNUKE
from cellvit.formats.features import FEATURES, open_features, read_features, read_tokens
from cellvit.formats.hdf5 import Store, as_names
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, NotAnnotated, TileBatch, append_tiles, open_tiles, read_tiles
from cellvit.formats.writing import writing

SIZES = {"views": 1, "blocks": 2, "g": 4, "dim": 8}


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
        grids = read_tokens(store, np.array([1]), view=0, blocks=(1,))

    np.testing.assert_array_equal(batch.cls, rows["cls"][[2, 0]])
    np.testing.assert_array_equal(batch.tokens, rows["tokens"][[2, 0]])
    np.testing.assert_array_equal(grids, rows["tokens"][1:2, 0, 1:])


@pytest.mark.parametrize("processors", [1, 2, 3, 16])
def test_equal_content_gives_equal_bytes_whoever_hashes_the_rows(tmp_path, monkeypatch, processors):
    write_features(tmp_path / "a.h5")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)))
    write_features(tmp_path / "b.h5")

    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("earlier", [False, True])
def test_a_failed_writer_leaves_what_was_there(tmp_path, earlier):
    if earlier:
        write_features(tmp_path / "f.h5")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(RuntimeError), writing(tmp_path / "f.h5", FEATURES, 3, SIZES, Provenance()):
        raise RuntimeError

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("announced", "message"), [(4, "4 rows were announced, 3 were"), (2, "2 rows were announced, more")]
)
def test_another_number_of_rows_than_announced_is_refused(tmp_path, announced, message):
    rows = write_features(tmp_path / "f.h5")

    store = writing(tmp_path / "g.h5", FEATURES, announced, SIZES, Provenance())
    with pytest.raises(ContractError, match=message), store as writer:
        writer.append(**rows)


def test_rows_of_another_dtype_are_refused(tmp_path):
    with pytest.raises(ContractError, match="`tokens` must be float16"):
        write_features(tmp_path / "f.h5", tokens=np.zeros((3, 1, 2, 4, 4, 8), np.float32))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda f: f.attrs.__setitem__("complete", False), "not complete", id="incomplete"),
        pytest.param(lambda f: f.attrs.__setitem__("format_version", 99), "version 99", id="version"),
        pytest.param(lambda f: f.attrs.__setitem__("format", "other"), "found other", id="format"),
        pytest.param(lambda f: f.__delitem__("cls"), "`cls` must be float32", id="column_gone"),
    ],
)
def test_a_store_that_breaks_its_format_is_refused_with_the_fix(tmp_path, damage, message):
    path = tmp_path / "f.h5"
    write_features(path)
    with h5py.File(path, "r+") as file:
        damage(file)

    with pytest.raises(ContractError, match=message) as caught:
        open_features(path)

    assert f"Fix: rm {path}  # then run snakemake again with the same settings" in str(caught.value)


def test_a_truncated_store_is_refused_and_a_missing_one_says_how_to_make_it(tmp_path):
    path = tmp_path / "f.h5"
    write_features(path)
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(ContractError, match="cannot be read as HDF5"):
        open_features(path)
    with pytest.raises(MissingInputError, match="Fix: snakemake -- "):
        open_features(tmp_path / "none.h5")


def test_flipped_bits_are_noticed_when_read(tmp_path):
    path = tmp_path / "f.h5"
    rows = write_features(path)
    data = bytearray(path.read_bytes())
    data[data.find(rows["tokens"][1, 0, 0].tobytes()) + 7] ^= 0xFF
    path.write_bytes(data)

    with (
        open_features(path) as store,
        pytest.raises(IntegrityError, match=r"f\.h5: `tokens`, row 1: .* damaged data .* Fix: "),
    ):
        store.read("tokens", np.array([1]))


def test_names_are_utf8_and_never_cut():
    assert as_names(("Müller", ""), "S64").tolist() == ["Müller".encode(), b""]
    with pytest.raises(ContractError, match="at most 64 bytes of UTF-8"):
        as_names(("ü" * 33,), "S64")


def test_tokens_have_a_chunk_for_each_tile_view_and_block_and_maps_a_compression_that_every_program_reads(
    tmp_path, write_tile_store
):
    write_features(tmp_path / "f.h5")
    tiles = write_tile_store(tmp_path / "t.h5", 1, ["Lung"])

    with h5py.File(tmp_path / "f.h5") as file, h5py.File(tiles) as tile_file:
        assert file["tokens"].chunks == (1, 1, 1, 4, 4, 8)
        assert file["tokens"].fletcher32
        assert {tile_file[name].compression for name in tile_file} == {"gzip", None}


def test_patients_and_sources_of_tiles_are_read_as_written_and_empty_where_unknown(tmp_path, write_tile_store):
    names = {"patients": ["Müller 2", "", "p1"], "sources": ["", "Zürich", "Bern"]}
    named = write_tile_store(tmp_path / "a.h5", 1, ["Lung"] * 3, **names)
    unnamed = write_tile_store(tmp_path / "b.h5", 1, ["Lung"] * 2)

    with open_tiles(named) as store, open_tiles(unnamed) as other:
        assert read_tiles(store, np.array([2, 1, 0])).patient == ("p1", "", "Müller 2")
        assert read_tiles(store, np.array([2, 1, 0])).source == ("Bern", "Zürich", "")
        assert read_tiles(other, np.arange(2)).patient == read_tiles(other, np.arange(2)).source == ("", "")


def test_the_header_says_what_a_store_was_made_from(tmp_path, write_tile_store):
    path = write_tile_store(tmp_path / "t.h5", 1, ["Lung"], simulated=True)

    with h5py.File(path) as file:
        header = dict(file.attrs)
    with Store(path, TILES) as store:
        marks = store.provenance.marks

    assert (header["format"], bool(header["complete"])) == (b"cellvit-tiles", True)
    assert json.loads(header["provenance"])["made_from"] == {"images": "1" * 64}
    assert marks == ("simulated data",)


def partly_annotated(**changes) -> TileBatch:
    """Two tiles: one with a nucleus beside a region that is not annotated, one that is not annotated at all."""
    instances, classes = np.zeros((2, 256, 256), np.int32), np.zeros((2, 256, 256), np.uint8)
    instances[0, 10:20, 10:20], classes[0, 10:20, 10:20] = 1, 3
    classes[0, 128:], classes[1] = NOT_ANNOTATED, NOT_ANNOTATED
    image = np.zeros((2, 256, 256, 3), np.uint8)
    arrays = {"image": image, "instances": instances, "classes": classes} | changes
    return TileBatch(**arrays, organ=("Lung",) * 2, tile_id=("f1-00000", "f1-00001"))


def test_what_is_not_annotated_is_read_as_written_and_counted(tmp_path):
    batch = partly_annotated()
    with writing(tmp_path / "t.h5", TILES, 2, {}, Provenance(data_set=PANNUKE)) as writer:
        append_tiles(writer, batch)

    with open_tiles(tmp_path / "t.h5") as store:
        found = read_tiles(store, np.arange(2))

    np.testing.assert_array_equal(found.classes, batch.classes)
    assert found.annotated_share.tolist() == [0.5, 0]
    assert NotAnnotated.of(found.annotated_share) == NotAnnotated(share=0.75, n_partly=1, n_wholly=1)
    assert NotAnnotated.of(np.zeros(0)) == NotAnnotated()


@pytest.mark.parametrize(
    ("row", "column", "nucleus_class", "message"),
    [
        pytest.param(15, 15, NOT_ANNOTATED, "exactly where `instances` is 0", id="a_nucleus_that_is_not_annotated"),
        pytest.param(15, 15, 0, "background would count as nuclei", id="background_in_a_nucleus"),
        pytest.param(60, 60, 2, "background would count as nuclei", id="class_outside_nuclei"),
        pytest.param(15, 15, 6, r"classes 0\.\.5 or 255 \(not annotated\)", id="no_such_class"),
        pytest.param(60, 60, 254, r"classes 0\.\.5 or 255 \(not annotated\)", id="no_such_class_outside_nuclei"),
    ],
)
def test_classes_that_contradict_the_nuclei_are_refused(row, column, nucleus_class, message):
    classes = partly_annotated().classes.copy()
    classes[0, row, column] = nucleus_class

    with pytest.raises(ContractError, match=message):
        partly_annotated(classes=classes)
