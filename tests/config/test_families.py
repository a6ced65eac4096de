"""Settings of one family alone: what they change, and which of them are refused."""

import json

import pytest
import yaml

from cellvit.config.settings import Settings, load_settings
from cellvit.config.steps import step_settings
from cellvit.config.template import config_yaml
from cellvit.errors import SettingsError

STEPS = ("gather_families", "train_hovernet", "tune_watershed", "evaluate_family", "evaluate_routed", "summarize")


def with_own(**own: object) -> Settings:
    """Two families, of which epidermal has settings of its own."""
    return load_settings({"families": {"digestive": ["Colon"], "epidermal": {"organs": ["Skin"], **own}}})


def refusal(**own: object) -> str:
    with pytest.raises(SettingsError) as caught:
        with_own(**own)
    return str(caught.value)


def test_a_list_of_organs_is_a_family_without_settings_of_its_own():
    assert with_own() == load_settings({"families": {"digestive": {"organs": ["Colon"]}, "epidermal": ["Skin"]}})


def test_own_settings_are_merged_with_the_settings_of_all_key_by_key():
    raw = {"training": {"epochs": 7, "patience": 3, "loss": {"np_weight": 3.0, "nt_weight": 4.0}}}
    own = {"training": {"epochs": 9, "loss": {"nt_weight": 5.0}}, "decoder": {"dropout": 0.3}}

    settings = load_settings(raw | {"families": {"epidermal": {"organs": ["Skin"], **own}}})
    training = settings.of_family("epidermal").training

    assert (training.epochs, training.patience) == (9, 3)
    assert (training.loss.np_weight, training.loss.nt_weight) == (3.0, 5.0)
    assert settings.of_family("epidermal").decoder.dropout == 0.3
    assert settings.training.epochs == 7


@pytest.mark.parametrize(
    ("own", "step"),
    [
        ({"training": {"loss": {"hv_magnitude_weight": 2.0}}}, "train_hovernet"),
        ({"decoder": {"widths": [64, 32, 16, 16, 16]}}, "train_hovernet"),
        ({"watershed": {"min_object_px": [20]}}, "tune_watershed"),
        ({"watershed": {"average_views": True}}, "tune_watershed"),
    ],
)
def test_own_settings_reach_one_step_of_their_family_and_nothing_else(own, step):
    families = ("digestive", "epidermal", "all")
    before, after = (
        {(name, family): step_settings(settings, name, family) for name in STEPS for family in families}
        for settings in (with_own(), with_own(**own))
    )

    assert [key for key in before if before[key] != after[key]] == [(step, "epidermal")]


def test_a_file_over_config_yaml_names_the_own_settings_alone():
    raw = yaml.safe_load(config_yaml())
    raw["families"]["epidermal"] |= {"training": {"epochs": 20}}

    settings = load_settings(raw)

    assert settings.organs == Settings().organs
    assert settings.of_family("epidermal").training.epochs == 20


def test_null_removes_the_own_settings():
    assert with_own(training=None) == with_own()


@pytest.mark.parametrize(
    ("own", "message"),
    [
        pytest.param(
            {"training": {"epoch": 3}},
            "families.epidermal.training.epoch: unknown key; did you mean epochs?",
            id="misspelled_key",
        ),
        pytest.param(
            {"training": {"loss": {"magnitude_weight": 3}}},
            "families.epidermal.training.loss.magnitude_weight: unknown key; did you mean hv_magnitude_weight?",
            id="misspelled_weight",
        ),
        pytest.param(
            {"trainings": {}},
            "families.epidermal.trainings: unknown key; did you mean training?",
            id="misspelled_section",
        ),
        pytest.param(
            {"seed": 3}, "families.epidermal.seed: unknown key; the keys here are: organs, training", id="seed"
        ),
        pytest.param(
            {"decoder": {"dropout": 1.5}}, "families.epidermal.decoder.dropout: input should be less than 1", id="bound"
        ),
        pytest.param(
            {"training": {"record_every": 150}},
            "families.epidermal.training.validate_every=500 is not a multiple of training.record_every=150",
            id="invalid_together_with_the_settings_of_all",
        ),
        pytest.param(
            {"decoder": {"blocks": [9]}},
            "families.epidermal.decoder.blocks=[9]: not among the stored blocks",
            id="blocks_that_are_not_extracted",
        ),
        pytest.param(
            {"training": {"shared_decoder": False}},
            "families.epidermal.training: shared_decoder is not a setting of one family",
            id="shared_decoder",
        ),
        pytest.param({"organs": "Skin"}, "families.epidermal.organs: must be a list, found 'Skin'", id="no_list"),
    ],
)
def test_own_settings_that_are_not_valid_are_refused_with_family_and_key(own, message):
    assert message in refusal(**own)


def test_further_seeds_change_nothing_for_the_decoders_of_the_first_seed_but_their_summary():
    both = {"families": {"digestive": ["Colon"], "epidermal": {"organs": ["Skin"], "training": {"epochs": 9}}}}

    one, three = load_settings(both), load_settings(both | {"further_seeds": [1, 7]})
    again = json.loads(step_settings(three, "train_hovernet", "epidermal-seed7"))
    first = json.loads(step_settings(three, "train_hovernet", "epidermal"))

    assert list(three.repeats) == [
        *("digestive-seed1", "epidermal-seed1", "all-seed1"),
        *("digestive-seed7", "epidermal-seed7", "all-seed7"),
    ]
    assert (again.pop("seed"), first.pop("seed")) == (7, 0)
    assert again == first
    assert first["training"]["epochs"] == 9
    for step, family in ((step, family) for step in STEPS for family in one.decoder_families):
        assert step_settings(one, step, family) == step_settings(three, step, family)


def test_a_seed_that_occurs_twice_is_refused():
    with pytest.raises(SettingsError, match=r"further_seeds=\[1, 0\]: expected seeds that differ.*from seed=0"):
        load_settings({"further_seeds": [1, 0]})
