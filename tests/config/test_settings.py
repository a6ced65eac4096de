import json

import pytest
import yaml

from cellvit.commands.settings import schema_json
from cellvit.config.settings import Settings, load_settings
from cellvit.config.steps import step_settings
from cellvit.config.template import config_yaml
from cellvit.errors import SettingsError
from cellvit.taxonomy import ORGANS


def test_config_yaml_and_schema_are_what_the_models_generate(repository):
    assert (repository / "config.yaml").read_text() == config_yaml(), "run: python -m cellvit settings"
    assert (repository / "config.schema.json").read_text() == schema_json(), "run: python -m cellvit settings"


def test_config_yaml_holds_exactly_the_defaults():
    assert load_settings(yaml.safe_load(config_yaml())) == Settings()


def test_every_field_of_every_section_is_described():
    schema = json.loads(schema_json())

    bare = [
        f"{section}.{name}"
        for section, entry in schema["$defs"].items()
        if section != "EncoderPreset"
        for name, field in entry.get("properties", {}).items()
        if not field.get("description")
    ]

    assert bare == []


def test_default_families_hold_every_organ_once():
    organs = [organ for organs in Settings().families.values() for organ in organs]

    assert sorted(organs) == sorted(ORGANS)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param({"trainin": {}}, "trainin: unknown key; did you mean training?", id="misspelled_section"),
        pytest.param(
            {"training": {"epoch": 3}}, "training.epoch: unknown key; did you mean epochs?", id="misspelled_key"
        ),
        pytest.param(
            {"training": {"epochs": 0}}, "training.epochs: input should be greater than 0, found 0", id="bound"
        ),
        pytest.param({"features": {"input_px": 225}}, "nearest valid values: 224, 238", id="remedy_is_computed"),
        pytest.param({"features": {"taps": [3, 40]}}, "has 40 blocks, numbered 0 to 39", id="tap_beyond_depth"),
        pytest.param({"features": {"taps": [39, 9]}}, "must rise without repeats: [9, 39]", id="taps_out_of_order"),
        pytest.param(
            {"features": {"views": ["identity", "mirror"]}},
            "unknown mirror; views are dihedral8, identity, rotate90",
            id="unknown_view",
        ),
        pytest.param(
            {"features": {"views": "dihedral8"}},
            "features.views: must be a list, found 'dihedral8'; write [dihedral8]",
            id="view_without_brackets",
        ),
        pytest.param(
            {"features": {"batch_size": 0}},
            "features.batch_size: must be auto or a number from 1 to 4096, found 0",
            id="batch_size_of_neither_kind",
        ),
        pytest.param(
            {"training": {"views": "stored"}},
            "set features.views: [dihedral8], which extracts again, or training.views: auto",
            id="drawn_views_not_extracted",
        ),
        pytest.param({"features": {"views": ["flip"]}}, "identity must be the first view", id="no_identity"),
        pytest.param({"features": {"views": ["dihedral8", "flip"]}}, "each may stand once", id="view_twice"),
        pytest.param({"decoder": {"taps": [9]}}, "not among the taps that are kept", id="tap_not_kept"),
        pytest.param({"decoder": {"taps": [9]}}, "set features.taps: [9, 39], which extracts again", id="tap_remedy"),
        pytest.param(
            {"features": {"taps": [9, 39]}, "decoder": {"taps": [9, 19]}},
            "decoder.taps=[19]: not among the taps that are kept, features.taps=[9, 39]",
            id="one_tap_not_kept",
        ),
        pytest.param({"families": {"a": ["Colon"], "digestive": ["Colon"]}}, "organ Colon is in", id="two_families"),
        pytest.param({"families": {"a": ["colon"]}}, "unknown organ 'colon'", id="organ_case"),
        pytest.param({"families": {"x; touch PWNED": ["Colon"]}}, "does not match", id="shell_in_a_name"),
        pytest.param({"families": {"all": ["Colon"]}}, "belongs to the control", id="reserved_family"),
        pytest.param(
            {"families": {"routed": ["Colon"]}}, "belongs to the evaluation", id="reserved_row_of_the_summary"
        ),
        pytest.param(
            {"splits": {"mean": {"train": 1, "validate": 2, "test": 3}}}, "mean over splits", id="reserved_split"
        ),
        pytest.param(
            {"splits": {"../x": {"train": 1, "validate": 2, "test": 3}}}, "does not match", id="path_in_a_name"
        ),
        pytest.param(
            {"splits": {"1": {"train": 1, "validate": 1, "test": 3}}}, "more than one role", id="leaking_split"
        ),
        pytest.param(
            {"splits": {"1": {"train": 1, "validate": 2, "test": 9}}}, "data.folds has [1, 2, 3]", id="no_fold"
        ),
        pytest.param({"data": {"root": None}}, "exactly one of data.root", id="no_data"),
        pytest.param({"encoder": {"preset": "tiny-vit"}}, "set encoder.weights: random", id="no_published_weights"),
        pytest.param({"results": "a b; rm"}, "results: string should match pattern", id="results_for_the_shell"),
        pytest.param({"training": {"bpq_every": 80}}, "no epoch would be measured", id="never_measured"),
    ],
)
def test_a_refused_setting_names_the_key_and_the_remedy(raw, said):
    with pytest.raises(SettingsError) as caught:
        load_settings(raw)

    assert said in str(caught.value)


def test_stored_views_may_be_asked_for_where_nothing_is_drawn():
    assert load_settings({"training": {"views": "stored", "augment": False}}).training.views == "stored"


def test_a_key_is_named_once():
    with pytest.raises(SettingsError) as caught:
        load_settings({"features": {"views": ["flip"]}})

    assert str(caught.value).count("features.views") == 1


def test_nothing_is_no_list_and_no_example_of_one():
    with pytest.raises(SettingsError) as caught:
        load_settings({"features": {"views": None}})

    assert "features.views: must be a list, found None\n" in str(caught.value)


def test_all_faults_are_named_at_once():
    with pytest.raises(SettingsError) as caught:
        load_settings({"seed": -1, "training": {"epochs": 0, "batchsize": 3}})

    assert all(key in str(caught.value) for key in ("seed", "training.epochs", "training.batchsize"))


def test_null_removes_a_family_and_a_split():
    settings = load_settings(
        {
            "families": {"epidermal": None, "skin": ["Skin"]},
            "splits": {"2": None, "1": {"train": 1, "validate": 2, "test": [3]}},
        }
    )

    assert settings.families == {"skin": ("Skin",)}
    assert settings.splits["1"].roles == {"train": (1,), "validate": (2,), "test": (3,)}


def test_numbers_that_yaml_reads_as_text_are_numbers():
    raw = yaml.safe_load("training: {learning_rate: 1e-4}")
    assert isinstance(raw["training"]["learning_rate"], str)

    assert load_settings(raw).training.learning_rate == 1e-4


def test_the_pooled_control_covers_every_organ_in_use():
    one = load_settings({"families": {"a": ["Lung"], "b": ["Liver", "Colon"]}})
    other = load_settings({"families": {"a": ["Colon", "Lung"], "b": ["Liver"]}})

    assert one.decoder_families["all"] == other.decoder_families["all"] == ("Colon", "Liver", "Lung")


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        pytest.param(
            {"training": {"loss": {"hv_magnitude": 2.0}}}, {"train_hovernet", "build_report"}, id="loss_weight"
        ),
        pytest.param({"watershed": {"min_object_px": [20]}}, {"tune_watershed", "build_report"}, id="watershed_grid"),
        pytest.param({"gates": {"quality": {"aji": {"pass": 0.6}}}}, {"summarize", "build_report"}, id="gate"),
        pytest.param({"device": "cpu"}, set(), id="device"),
        pytest.param({"results": "elsewhere"}, set(), id="results"),
        pytest.param({"organ_head": {"epochs": 3}}, {"train_organ_head", "build_report"}, id="organ_head"),
        pytest.param(
            {"features": {"input_px": 448}}, {"extract_features", "check_features", "build_report"}, id="features"
        ),
        pytest.param(
            {"features": {"views": ["dihedral8"], "colour_views": 2}},
            {"extract_features", "check_features", "build_report"},
            id="views",
        ),
        pytest.param({"features": {"colour_sigma": 0.2}}, {"build_report"}, id="colours_that_no_view_has"),
        pytest.param(
            {"features": {"colour_views": 1, "colour_sigma": 0.2}},
            {"extract_features", "check_features", "build_report"},
            id="colours_of_a_view",
        ),
        pytest.param({"training": {"views": "turned"}}, {"train_hovernet", "build_report"}, id="training_views"),
        pytest.param(
            {"training": {"pooled_control": False}}, {"build_report"}, id="control_leaves_family_decoders_alone"
        ),
    ],
)
def test_a_changed_setting_reaches_the_steps_that_read_it_and_no_other(change, steps):
    names = [
        "simulate_pannuke", "extract_features", "check_features", "train_organ_head", "gather_family", "check_targets",
        "train_hovernet", "tune_watershed", "evaluate_family", "evaluate_routed", "summarize", "build_report",
    ]  # fmt: skip

    before = {name: step_settings(Settings(), name, "digestive") for name in names}
    after = {name: step_settings(load_settings(change), name, "digestive") for name in names}

    assert {name for name in names if before[name] != after[name]} == steps


def test_a_decoder_chooses_among_stored_taps_without_another_extraction():
    stored = {"features": {"taps": [9, 19, 29, 39]}}

    before, after = load_settings(stored), load_settings({**stored, "decoder": {"taps": [39, 19]}})

    assert step_settings(before, "extract_features") == step_settings(after, "extract_features")
    assert step_settings(before, "train_hovernet") != step_settings(after, "train_hovernet")


def test_dihedral8_and_its_eight_names_are_the_same_setting():
    short = load_settings({"features": {"views": ["dihedral8"]}})

    assert len(short.features.views) == short.features.n_views == 8
    assert short == load_settings({"features": {"views": list(short.features.views)}})
