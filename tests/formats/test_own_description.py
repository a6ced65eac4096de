"""`dataset.yaml`: what it accepts, what it refuses, and in which words."""

from pathlib import Path

import pytest

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.own_description import OwnDescription, field_help, read_description
from cellvit.formats.own_fields import AnnotationFiles
from cellvit.formats.own_tiles import COLUMNS

KINDS = ("label-map", "geojson", "matlab")

BRAIN = """\
name: Brain
mpp: 0.5
classes:
  - {name: Neuron, color: "#f0e442", names: [N, "Neuron: NeuN+"]}
  - {name: Glia, color: "#35e0f0"}
unlabelled: not annotated
unknown: Glia
licence: CC BY 4.0
commercial_use: true
annotations: {kind: geojson}
"""


def read(folder: Path, text: str) -> OwnDescription:
    path = folder / "dataset.yaml"
    path.write_text(text, encoding="utf-8")
    return read_description(path, kinds=KINDS)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ContractError) as error:
        read(folder, text)
    return str(error.value)


def test_classes_are_numbered_in_their_order_by_the_names_that_annotations_write(tmp_path: Path) -> None:
    brain = read(tmp_path, BRAIN)

    assert brain.class_numbers == {"N": 1, "Neuron: NeuN+": 1, "Glia": 2}
    assert (brain.fallback_number(brain.unlabelled), brain.fallback_number(brain.unknown)) == (NOT_ANNOTATED, 2)
    assert brain.mpp == 0.5
    assert brain.annotations.kind == "geojson"


def test_numbers_of_types_may_be_written_without_quotes(tmp_path: Path) -> None:
    text = 'name: B\nmpp: null\nclasses:\n  - {name: Epithelial, color: "#ffffff", names: [3, "4"]}\n'

    assert read(tmp_path, text).class_numbers == {"3": 1, "4": 1}


def test_the_data_set_of_the_tiles_has_the_resolution_of_the_model(tmp_path: Path) -> None:
    data_set = read(tmp_path, BRAIN).dataset(("Cortex",), 0.25)

    assert (data_set.mpp, data_set.organs, data_set.class_names) == (
        0.25,
        ("Cortex",),
        ("Background", "Neuron", "Glia"),
    )
    assert (data_set.licence, data_set.commercial_use) == ("CC BY 4.0", True)


def test_all_open_fields_are_named_with_meaning_and_example(tmp_path: Path) -> None:
    text = BRAIN.replace("mpp: 0.5", 'mpp: "?"').replace("licence: CC BY 4.0", "licence: '?'").replace("geojson", '"?"')

    message = refusal(tmp_path, text)

    assert "  mpp: still open. Meaning: micrometres per pixel" in message
    assert "Example:  mpp: 0.5\n" in message
    assert "  licence: still open." in message
    assert "  annotations.kind: still open. Meaning: format of the annotation files" in message


def test_an_open_class_name_is_named_with_its_place(tmp_path: Path) -> None:
    assert "  classes.1.name: still open. Meaning: name of the class" in refusal(
        tmp_path, BRAIN.replace("Glia,", '"?",')
    )


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = BRAIN.replace("mpp: 0.5", "mpp: true").replace("color", "colour").replace("unknown", "unkown")

    message = refusal(tmp_path, text)

    assert "mpp: must be a number, found true" in message
    assert "classes.0.color: missing. Meaning: colour of the contours" in message
    assert "classes.0.colour: unknown key; did you mean color?" in message
    assert "unkown: unknown key; did you mean unknown?" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("mpp: 0.5", 'mpp: "0.5"', "mpp: must be a number, found the text '0.5'", id="number_as_text"),
        pytest.param("mpp: 0.5", "mpp: 250", "mpp: input should be less than or equal to 10", id="nanometres"),
        pytest.param("mpp: 0.5", "mpp: .nan", "mpp: input should be a finite number", id="nan"),
        pytest.param("mpp: 0.5\n", "", "mpp: missing. Meaning: micrometres per pixel", id="no_resolution"),
        pytest.param("use: true", "use: 1", "commercial_use: must be true or false, found 1", id="number"),
        pytest.param("[N, ", "[no, ", "classes.0.names.0: input should be a valid string, found False", id="no"),
        pytest.param("unknown: Glia", "unknown: glia", "unknown: must be one of 'Neuron', 'Glia', 'not ", id="class"),
        pytest.param("unknown: Glia", "unknown: glia", "found 'glia'; did you mean 'Glia'?", id="nearest_class"),
        pytest.param("name: Glia", "name: neuron", "classes: the name 'neuron' occurs twice", id="classes_twice"),
        pytest.param("name: Glia", "name: N", "the annotations' name 'N' occurs twice in `names`", id="names_twice"),
        pytest.param("name: Glia", "name: error", "classes: 'error' has a meaning of its own", id="reserved"),
        pytest.param("geojson", "geojsn", "annotations.kind: must be one of label-map, geojson, matlab", id="kind"),
        pytest.param("geojson", "geojsn", "did you mean geojson?", id="nearest_kind"),
        pytest.param("kind: ", "value_ranges: {Glia: [9, 1]}, kind: ", "first id 9 is larger", id="range_reversed"),
        pytest.param("kind: ", "value_ranges: {G: [1, 9]}, kind: ", "'G' is not a class", id="range_of_no_class"),
        pytest.param(
            "kind: ", "value_ranges: {N: [1, 9], Glia: [9, 12]}, kind: ", "share the ids 9 to 9", id="ranges_overlap"
        ),
        pytest.param("licence: ", "mpp: 1\nlicence: ", "the key 'mpp' occurs twice, in lines 2 and 8", id="key_twice"),
        pytest.param("{kind: ", "{kind: a, kind: ", "the key 'kind' occurs twice", id="inner_key_twice"),
        pytest.param("mpp: 0.5", "mpp: ?", "this is not valid YAML", id="mark_without_quotes"),
        pytest.param("name: Brain", "name: &a [*a]", "write the value itself, not a reference", id="reference"),
        pytest.param("name: Brain", "name: " + "[" * 100_000, "this is not valid YAML", id="deep"),
        pytest.param(BRAIN, "- Brain", 'expected lines of "key: value", found list', id="list"),
        pytest.param(BRAIN, "", 'expected lines of "key: value", found NoneType', id="empty"),
    ],
)
def test_a_fault_is_refused_by_name(tmp_path: Path, old: str, new: str, expected: str) -> None:
    message = refusal(tmp_path, BRAIN.replace(old, new, 1))

    assert expected in message
    assert str(tmp_path / "dataset.yaml") in message


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_bytes(b"name: \xff\xfe")

    with pytest.raises(ContractError, match="cannot be read as UTF-8"):
        read_description(path, kinds=KINDS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"dataset\.yaml: the file does not exist"):
        read_description(tmp_path / "dataset.yaml", kinds=KINDS)


def test_the_documentation_describes_every_field(repository: Path) -> None:
    text = (repository / "docs/own_data.md").read_text()

    fields = [*OwnDescription.model_fields, *(f"annotations.{name}" for name in AnnotationFiles.model_fields)]
    assert [name for name in fields if f"`{name}`" not in text and name != "annotations"] == []
    assert [name for name in COLUMNS if f"`{name}`" not in text] == []


def test_every_field_has_a_meaning_and_an_example_that_is_valid(tmp_path: Path) -> None:
    lines = [f"{name}: {field_help((name,))[1]}\n" for name in OwnDescription.model_fields]

    described = read(tmp_path, "".join(lines))

    assert described.name == "Brain of our laboratory"
    for name in AnnotationFiles.model_fields:
        meaning, example = field_help(("annotations", name))
        assert meaning
        assert read(tmp_path, "".join(lines).replace("{kind: geojson}", f"{{{name}: {example}}}")).annotations
