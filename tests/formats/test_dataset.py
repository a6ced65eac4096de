"""Descriptions of data sets, and how they travel with files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cellvit.errors import ContractError, StaleFileError
from cellvit.formats.content import content_of, provenance_of
from cellvit.formats.dataset import PANNUKE, DataSet, check_model_fits, check_same_data
from cellvit.formats.provenance import Provenance
from cellvit.formats.tiles import TILES, TileBatch, append_tiles, open_tiles, read_tiles
from cellvit.formats.writing import writing


def data_set(*names: str, **fields: object) -> DataSet:
    classes = [{"name": name, "color": "#00ff00"} for name in names]
    return DataSet.model_validate({"name": "Own", "classes": classes, "mpp": 0.5, **fields})


def write_tiles(path: Path, of: DataSet, **columns: tuple[str, ...]) -> Path:
    with open_tiles(path.with_name("source.h5")) as store:
        batch = read_tiles(store, store.blocks(9).__next__())
    own = TileBatch(batch.image, batch.instances, batch.classes, tile_id=batch.tile_id, dataset=of, **columns)
    with writing(path, TILES, len(own), {}, Provenance(data_set=of)) as writer:
        append_tiles(writer, own)
    return path


@pytest.fixture
def folder(tmp_path, write_tile_store):
    """A folder with a tile store of PanNuke's kind, source.h5, from which others are made."""
    write_tile_store(tmp_path / "source.h5", 1, ["Colon", "Skin"])
    return tmp_path


def test_pannuke_is_described_as_published():
    assert PANNUKE.class_keys == ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
    assert len(PANNUKE.organs) == 19
    assert PANNUKE.mpp == 0.25
    assert PANNUKE.licence_of_weights == "weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial)"


def test_keys_of_classes_are_words_that_fit_into_names_of_metrics():
    assert data_set("Tumour cell (late)", "T-Zelle ß", "1px").class_keys == ("tumour_cell_late_", "t_zelle_ß", "1px")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(("Cell", "Cell"), "occurs twice", id="twice"),
        pytest.param(("T cell", "t-cell"), "differ in case, blanks or punctuation alone", id="one_key"),
        pytest.param(("+",), "neither a letter nor a digit", id="no_letter"),
        pytest.param(("background",), "reserved for pixels outside of nuclei", id="background"),
    ],
)
def test_names_of_classes_that_would_be_confused_are_refused(names, message):
    with pytest.raises(ValidationError, match=message):
        data_set(*names)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "the licence of Own is not known, nor is that of weights trained on it"),
        ({"licence": "CC0", "commercial_use": True}, "weights trained on Own inherit CC0 (commercial use is allowed)"),
        ({"licence": "my own"}, "weights trained on Own inherit my own"),
    ],
)
def test_the_licence_of_weights_follows_that_of_the_data(fields, sentence):
    assert data_set("Cell", **fields).licence_of_weights == sentence


def test_a_tile_store_names_its_data_set_and_the_origin_of_its_tiles(folder):
    own = data_set("Cell", organs=("Brain",))
    path = write_tiles(folder / "own.h5", own, organ=("Brain",) * 2, origin=("a.png x=0 y=0", ""))

    with open_tiles(path) as store:
        batch = read_tiles(store, store.blocks(9).__next__())

    assert batch.dataset == store.dataset == own
    assert batch.origin == ("a.png x=0 y=0", "")
    assert batch.organ == ("Brain", "Brain")


@pytest.mark.parametrize(
    ("own", "organ", "message"),
    [
        pytest.param(
            data_set("Cell", organs=("Brain",)), ("Brain", "Skin"), r"unknown \['Skin'\].*organs: Brain", id="organ"
        ),
        pytest.param(data_set("Cell"), ("Brain", ""), "none .every organ is empty.", id="no_organs"),
        pytest.param(data_set("Cell", organs=("Brain",)), ("Brain", ""), r"unknown \[''\]", id="organ_missing"),
    ],
)
def test_tiles_of_an_organ_that_the_data_set_does_not_have_are_refused(folder, own, organ, message):
    with pytest.raises(ContractError, match=message):
        write_tiles(folder / "own.h5", own, organ=organ)


def test_an_origin_that_is_too_long_is_refused_and_never_cut(folder):
    with pytest.raises(ContractError, match="at most 160 bytes"):
        write_tiles(folder / "own.h5", data_set("Cell"), organ=("", ""), origin=("x" * 161, ""))


def test_what_is_made_from_a_store_inherits_its_data_set(folder):
    path = write_tiles(folder / "own.h5", data_set("Cell"), organ=("", ""))

    assert provenance_of(folder / "out.json", [path], {}).dataset == data_set("Cell")


def test_two_data_sets_are_never_mixed_and_the_message_names_both(folder):
    path = write_tiles(folder / "own.h5", data_set("Cell"), organ=("", ""))

    with pytest.raises(StaleFileError) as caught:
        provenance_of(folder / "out.json", [folder / "source.h5", path], {})

    message = str(caught.value)
    assert f"mpp: {folder}/source.h5 has 0.25, {path} has 0.5" in message
    assert "Neoplastic, Inflammatory" in message
    assert "has Cell" in message


def test_the_same_tiles_of_another_data_set_are_another_content(folder):
    first = write_tiles(folder / "a.h5", data_set("Cell"), organ=("", ""))
    second = write_tiles(folder / "b.h5", data_set("Zelle"), organ=("", ""))

    assert content_of(first).digest != content_of(second).digest


def test_colours_alone_make_another_data_set_but_not_another_model():
    red = data_set("Cell").model_copy(
        update={"classes": (data_set("Cell").classes[0].model_copy(update={"color": "#ff0000"}),)}
    )

    with pytest.raises(StaleFileError, match="the colours differ"):
        check_same_data(Path("a"), red, Path("b"), data_set("Cell"))
    check_model_fits("the model", red, Path("b"), data_set("Cell"))


def test_a_model_of_other_classes_is_refused_by_name():
    with pytest.raises(StaleFileError, match=r"classes: the decoder of all has Cell, b\.h5 has Zelle"):
        check_model_fits("the decoder of all", data_set("Cell"), Path("b.h5"), data_set("Zelle"))


def test_a_file_that_names_no_data_set_is_not_taken_for_pannuke():
    with pytest.raises(ContractError, match="the data set of the tiles is not recorded"):
        _ = Provenance().dataset
