import json

import pytest
import yaml

from cellvit.config.base import flattened
from cellvit.config.reference import settings_page
from cellvit.config.settings import Settings, load_settings
from cellvit.config.steps import step_settings
from cellvit.config.template import config_yaml, schema_json
from cellvit.errors import SettingsError
from cellvit.taxonomy import ORGANS

STEPS = (
    "simulate_pannuke", "check_folds", "check_targets", "extract_features", "check_features", "train_organ_head", "gather_families",
    "train_hovernet", "tune_watershed", "evaluate_organ_head", "evaluate_family", "evaluate_routed", "calibrate", "summarize",
    "build_report",
)  # fmt: skip
EXTRACTION = {"extract_features", "check_features", "build_report"}


ENCODER = {
    "name": "resnet10t",
    "architecture": "resnet10t",
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "patch_px": 16,
    "cls_std": [0.1, 5],
}


def refusal(raw: dict[str, object]) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(raw)
    return str(caught.value)


def test_config_yaml_schema_and_reference_are_what_the_models_generate(repository):
    assert (repository / "config.yaml").read_text() == config_yaml(), "run: python -m cellvit settings"
    assert (repository / "config.schema.json").read_text() == schema_json(), "run: python -m cellvit settings"
    assert (repository / "docs" / "settings.md").read_text() == settings_page(), "run: python -m cellvit settings"


def test_the_reference_has_a_row_for_every_key_of_config_yaml():
    keys = {f"`{key}`" for key in flattened(yaml.safe_load(config_yaml())) if not key.startswith("gates.quality.")}

    page = settings_page()

    assert sorted(key for key in keys if key not in page and ".organs" not in key and "splits." not in key) == []
    assert "`training.loss.hv_magnitude_weight`" in page
    assert "`encoder.custom.levels`" in page


def test_config_yaml_holds_exactly_the_defaults():
    assert load_settings(yaml.safe_load(config_yaml())) == Settings()


def test_every_setting_is_described():
    fields = {
        f"{section}.{name}": field
        for section, entry in json.loads(schema_json())["$defs"].items()
        for name, field in entry.get("properties", {}).items()
    }

    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_default_families_hold_every_organ_once():
    organs = [organ for organs in Settings().organs.values() for organ in organs]

    assert sorted(organs) == sorted(ORGANS)


SPLIT = {"train": 1, "validate": 2, "test": 3}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param({"trainin": {}}, "trainin: unknown key; did you mean training?", id="section"),
        pytest.param({"training": {"epoch": 3}}, "training.epoch: unknown key; did you mean epochs?", id="key"),
        pytest.param(
            {"training": {"epochs": 0}}, "training.epochs: input should be greater than 0, found 0", id="bound"
        ),
        pytest.param({"features": {"input_px": 225}}, "nearest valid values: 224, 238", id="fix_is_computed"),
        pytest.param({"features": {"blocks": [3, 40]}}, "has 40 blocks, numbered 0 to 39", id="no_such_block"),
        pytest.param({"features": {"blocks": [39, 9]}}, "must increase without repeats: [9, 39]", id="order_of_blocks"),
        pytest.param(
            {"features": {"views": ["identity", "mirror"]}},
            "unknown mirror; views: dihedral8, identity, rotate90",
            id="no_such_view",
        ),
        pytest.param(
            {"features": {"views": "dihedral8"}},
            "features.views: must be a list, found 'dihedral8'; write [dihedral8]",
            id="view_without_brackets",
        ),
        pytest.param({"features": {"views": None}}, "features.views: must be a list, found None\n", id="no_list"),
        pytest.param({"features": {"views": ["flip"]}}, "identity must be the first view", id="no_identity"),
        pytest.param({"features": {"views": ["dihedral8", "flip"]}}, "may be listed once", id="view_twice"),
        pytest.param(
            {"features": {"batch_size": 0}},
            "features.batch_size: must be auto or a number from 1 to 4096, found 0",
            id="batch_size_of_neither_kind",
        ),
        pytest.param(
            {"training": {"views": "stored"}, "features": {"views": ["identity"]}},
            "set features.views: [dihedral8], which extracts again, or training.views: auto",
            id="sampled_views_not_extracted",
        ),
        pytest.param(
            {"decoder": {"blocks": [9]}},
            "decoder.blocks=[9]: not among the stored blocks, features.blocks=[39]; "
            "set features.blocks: [9, 39], which extracts again",
            id="block_not_stored",
        ),
        pytest.param({"families": {"a": ["Colon"], "digestive": ["Colon"]}}, "organ Colon is in", id="two_families"),
        pytest.param(
            {"families": {"a": []}}, "families.a.organs: must have at least one entry, found []", id="empty_family"
        ),
        pytest.param({"left_out_organs": ["Colon"]}, "organ Colon is in family digestive", id="left_out_and_used"),
        pytest.param(
            {"families": None, "training": {"start_from": "shared"}},
            "set training.start_from: scratch",
            id="one_decoder",
        ),
        pytest.param({"families": {"x; touch PWNED": ["Colon"]}}, "must be small letters", id="shell_in_a_family"),
        pytest.param({"families": {"all": ["Colon"]}}, "reserved for the shared decoder", id="reserved_family"),
        pytest.param({"families": {"routed": ["Colon"]}}, "reserved for the evaluation", id="reserved_file_name"),
        pytest.param({"splits": {"mean": SPLIT}}, "reserved for the mean over splits", id="reserved_split"),
        pytest.param({"splits": {"final": SPLIT}}, "reserved for the final models", id="split_of_final_models"),
        pytest.param(
            {"training": {"start_from": "share"}},
            "must be scratch, shared, the path of a checkpoint that ends in .safetensors, or of a folder of them that ends in /, found 'share'",
            id="start_of_no_kind",
        ),
        pytest.param({"splits": {"../x": SPLIT}}, "must be letters, digits", id="path_in_a_split"),
        pytest.param({"splits": {"1": SPLIT | {"validate": 1}}}, "more than one role", id="leaking_split"),
        pytest.param({"splits": {"1": SPLIT | {"test": 9}}}, "data.folds has [1, 2, 3]", id="no_such_fold"),
        pytest.param({"data": {"root": None}}, "exactly one of data.root", id="no_data"),
        pytest.param({"encoder": {"preset": "tiny-vit"}}, "set encoder.weights: random", id="no_published_weights"),
        pytest.param(
            {"encoder": {"preset": "efficientnet-lite0"}, "decoder": {"blocks": [0]}},
            "set decoder.blocks: null, and choose levels by features.blocks",
            id="blocks_of_a_pyramid",
        ),
        pytest.param(
            {"encoder": {"preset": "custom", "custom": ENCODER | {"levels": [[8, 40]], "depth": 2, "dim": 48}}},
            "either depth and dim (a vision transformer) or levels (a feature pyramid), found depth=2, dim=48, "
            "levels=[[8, 40]]",
            id="blocks_and_levels",
        ),
        pytest.param(
            {"encoder": {"preset": "custom", "custom": ENCODER | {"levels": [[6, 40]]}}},
            "strides [6] neither divide patch_px=16 nor are multiples of it",
            id="levels_beside_the_grid",
        ),
        pytest.param({"results": "a b; rm"}, "results: must be a path without spaces", id="shell_in_results"),
        pytest.param(
            {"training": {"validate_every": 250}}, "nearest valid values: 200, 300", id="measured_within_a_round"
        ),
        pytest.param(
            {"training": {"start_from": "shared", "shared_decoder": False}},
            "which is not trained; set training.shared_decoder: true",
            id="start_without_shared_decoder",
        ),
        pytest.param(
            {"watershed": {"average_views": True}, "features": {"views": ["identity"], "colour_views": 2}},
            "set features.views: [dihedral8], which extracts again, or watershed.average_views: false",
            id="average_of_one_view",
        ),
        pytest.param({"cache": {"max_gb": 0}}, "cache.max_gb: input should be greater than 0", id="cache_of_nothing"),
    ],
)
def test_an_invalid_setting_is_refused_with_its_key_once_and_the_fix(raw, message):
    refused = refusal(raw)

    assert message in refused
    assert all(refused.count(f"{section}.{key}: ") <= 1 for section, keys in raw.items() for key in keys or ())


def test_all_faults_are_named_at_once():
    refused = refusal({"seed": -1, "training": {"epochs": 0, "batchsize": 3}})

    assert all(key in refused for key in ("seed", "training.epochs", "training.batchsize"))


def test_stored_views_are_valid_where_no_view_is_sampled():
    given = {"training": {"views": "stored", "augment": False}, "features": {"views": ["identity"]}}

    assert load_settings(given).training.views == "stored"


def test_null_removes_a_family_and_a_split():
    settings = load_settings(
        {"families": {"epidermal": None, "skin": ["Skin"]}, "splits": {"2": None, "1": SPLIT | {"test": [3]}}}
    )

    assert settings.organs == {"skin": ("Skin",)}
    assert settings.splits["1"].roles == {"train": (1,), "validate": (2,), "test": (3,)}


def test_numbers_that_yaml_reads_as_text_are_numbers():
    raw = yaml.safe_load("training: {learning_rate: 1e-4}")
    assert isinstance(raw["training"]["learning_rate"], str)

    assert load_settings(raw).training.learning_rate == 1e-4


def test_the_shared_decoder_covers_all_organs_in_use_whatever_their_families():
    one = load_settings({"families": {"a": ["Lung"], "b": ["Liver", "Colon"]}})
    other = load_settings({"families": {"a": ["Colon", "Lung"], "b": ["Liver"]}})

    assert one.decoder_families["all"] == other.decoder_families["all"] == ("Colon", "Liver", "Lung")


def test_dihedral8_and_its_eight_names_are_the_same_setting():
    short = load_settings({"features": {"views": ["dihedral8"]}})

    assert len(short.features.views) == short.features.n_views == 8
    assert short == load_settings({"features": {"views": list(short.features.views)}})
    assert short == load_settings({})  # the default


@pytest.mark.parametrize(
    ("training", "n_tiles", "steps"),
    [
        pytest.param({"epochs": 50, "min_steps": 2000}, 2656, 50 * 166, id="epochs"),
        pytest.param({"epochs": 50, "min_steps": 2000}, 136, 2000, id="at_least_the_floor"),
        pytest.param({"epochs": 50, "min_steps": 0}, 17, 100, id="without_a_floor"),
        pytest.param({"steps": 300, "epochs": 50, "min_steps": 2000}, 2656, 300, id="steps_decide_alone"),
    ],
)
def test_a_training_takes_its_steps_or_its_epochs_but_at_least_the_floor(training, n_tiles, steps):
    assert load_settings({"training": training}).training.n_steps(n_tiles) == steps


def test_the_shared_decoder_is_the_same_whether_others_start_from_it_or_not():
    scratch, shared = (load_settings({"training": {"start_from": start}}) for start in ("scratch", "shared"))

    of_shared, of_family = (
        [step_settings(settings, "train_hovernet", family) for settings in (scratch, shared)]
        for family in ("all", "digestive")
    )

    assert of_shared[0] == of_shared[1]
    assert of_family[0] != of_family[1]


def test_every_decoder_starts_from_a_file_the_shared_one_too():
    settings = load_settings({"training": {"start_from": "old/decoder.safetensors"}})

    starts = [settings.of_family(family).training.start_file for family in ("all", "digestive")]
    of_shared = json.loads(step_settings(settings, "train_hovernet", "all"))

    assert starts == ["old/decoder.safetensors"] * 2
    assert of_shared["training"]["start_from"] == "old/decoder.safetensors"


@pytest.mark.parametrize(
    ("before", "change", "steps"),
    [
        pytest.param(
            {}, {"training": {"loss": {"hv_magnitude_weight": 2.0}}}, {"train_hovernet", "build_report"}, id="loss"
        ),
        pytest.param({}, {"training": {"views": "rotated"}}, {"train_hovernet", "build_report"}, id="training_views"),
        pytest.param({}, {"training": {"shared_decoder": False}}, {"build_report"}, id="shared_decoder"),
        pytest.param({}, {"watershed": {"min_object_px": [20]}}, {"tune_watershed", "build_report"}, id="watershed"),
        pytest.param(
            {}, {"watershed": {"average_views": True}}, {"tune_watershed", "build_report"}, id="average_views"
        ),
        pytest.param({}, {"routing": {"decoder": "family"}}, {"evaluate_routed", "build_report"}, id="routing"),
        pytest.param({}, {"gates": {"quality": {"aji": {"pass": 0.6}}}}, {"summarize", "build_report"}, id="gate"),
        pytest.param({}, {"organ_head": {"epochs": 3}}, {"train_organ_head", "build_report"}, id="organ_head"),
        pytest.param({}, {"device": "cpu", "results": "elsewhere", "cache": {"enabled": False}}, set(), id="how"),
        pytest.param({}, {"features": {"batch_size": 8}}, {"build_report"}, id="batch_size"),
        pytest.param({}, {"features": {"input_px": 448}}, EXTRACTION, id="features"),
        pytest.param({}, {"features": {"views": ["identity"], "colour_views": 2}}, EXTRACTION, id="views"),
        pytest.param({}, {"features": {"colour_sigma": 0.2}}, {"build_report"}, id="colours_of_no_view"),
        pytest.param(
            {"features": {"colour_views": 1}}, {"features": {"colour_sigma": 0.2}}, EXTRACTION, id="colours_of_a_view"
        ),
        pytest.param(
            {"features": {"blocks": [9, 19, 29, 39]}},
            {"decoder": {"blocks": [39, 19]}},
            {"train_hovernet", "build_report"},
            id="decoder_chooses_among_stored_blocks",
        ),
    ],
)
def test_a_changed_setting_reaches_the_steps_that_read_it_and_no_other(before, change, steps):
    both = {
        key: {**before.get(key, {}), **value} if isinstance(value, dict) else value for key, value in change.items()
    }

    old = {name: step_settings(load_settings(before), name, "digestive") for name in STEPS}
    new = {name: step_settings(load_settings({**before, **both}), name, "digestive") for name in STEPS}

    assert {name for name in STEPS if old[name] != new[name]} == steps
