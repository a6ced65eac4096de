"""Settings against the data set of a run."""

import pytest
from other_data import ONE_CLASS, ONE_ORGAN, THREE_CLASSES

from cellvit.config.data import OFFICIAL_SPLITS
from cellvit.config.settings import load_settings
from cellvit.errors import SettingsError
from cellvit.formats.dataset import PANNUKE, DataSet
from cellvit.workflow.data_set import settings_for
from cellvit.workflow.graph import Graph


def refusal(data_set: DataSet, **raw: object) -> str:
    with pytest.raises(SettingsError) as caught:
        settings_for(load_settings({"data": {"mpp": data_set.mpp}, **raw}), data_set)
    return str(caught.value)


def fitted(data_set: DataSet, **raw: object) -> dict[str, tuple[str, ...] | None]:
    return dict(settings_for(load_settings({"data": {"mpp": data_set.mpp}, **raw}), data_set).decoder_families)


def test_the_default_settings_fit_pannuke_unchanged():
    settings = load_settings({})

    assert settings_for(settings, PANNUKE) == settings


def test_default_families_hold_for_pannuke_and_leave_one_decoder_to_other_data():
    assert fitted(THREE_CLASSES) == {"all": None}


def test_families_that_a_user_adds_to_the_defaults_stay_alone():
    families = {"brain": ["Brain"], "spine": ["Spinal cord"]}
    defaults = load_settings({}).organs

    found = fitted(THREE_CLASSES, families={**defaults, **families})

    assert found == {"brain": ("Brain",), "spine": ("Spinal cord",), "all": ("Brain", "Spinal cord")}


def test_a_default_family_stays_where_the_data_set_has_its_organs():
    lung = ONE_CLASS.model_copy(update={"organs": ("Lung", "Liver")})

    assert fitted(lung) == {"respiratory": ("Liver", "Lung")}


def test_one_family_has_no_shared_decoder_and_no_organ_head():
    graph = Graph(load_settings({"families": {"brain": ["Brain"]}, "data": {"mpp": 0.5}}), dataset=ONE_ORGAN)

    assert list(graph.settings.decoder_families) == ["brain"]
    assert not graph.has_organ_head
    assert Graph(load_settings({})).has_organ_head


@pytest.mark.parametrize(
    ("data_set", "raw", "message"),
    [
        pytest.param(
            THREE_CLASSES,
            {"families": {"brain": ["Brian"], "spine": ["Spinal cord"]}},
            "families.brain: unknown organ 'Brian'; did you mean Brain? The organs of the data set Own are: Brain, Spinal cord",
            id="misspelled",
        ),
        pytest.param(
            THREE_CLASSES,
            {"families": {"brain": ["Brain"]}},
            "in no family: Spinal cord; add each to a family, leave them out (left_out_organs: [Spinal cord]), or set "
            "families: null",
            id="organ_in_no_family",
        ),
        pytest.param(ONE_CLASS, {"families": {"a": ["Brain"]}}, "set families: null", id="no_organs"),
        pytest.param(
            ONE_ORGAN,
            {"families": None, "left_out_organs": ["Brain"]},
            "every organ of the data set",
            id="none_is_left",
        ),
        pytest.param(ONE_CLASS, {"families": None, "left_out_organs": ["Skin"]}, "are: none", id="left_out_of_none"),
        pytest.param(
            PANNUKE, {"data": {"mpp": 0.5}}, "tiles in PanNuke's layout are not resampled, and have 0.25", id="mpp"
        ),
        pytest.param(ONE_CLASS, {"data": {"mpp": 0.25}}, "Own has 0.5 micrometres per pixel; set", id="other_mpp"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_the_fix(data_set, raw, message):
    assert message in refusal(data_set, **raw)


def test_organs_that_are_left_out_on_purpose_are_accepted():
    found = fitted(THREE_CLASSES, families={"brain": ["Brain"]}, left_out_organs=["Spinal cord"])

    assert found == {"brain": ("Brain",)}


def test_splits_that_are_still_the_official_ones_test_each_fold_of_own_data_once():
    settings = load_settings({"families": None, "data": {"folds": [1, 2, 3, 4, 5]}})

    fitted = settings_for(settings, ONE_ORGAN.model_copy(update={"mpp": 0.25}))

    assert [split.test for split in fitted.splits.values()] == [(3,), (4,), (5,), (1,), (2,)]
    assert fitted.splits["1"].train == (1, 4, 5)
    assert settings_for(fitted, ONE_ORGAN.model_copy(update={"mpp": 0.25})) == fitted


def test_splits_that_a_user_names_or_removes_are_kept():
    data_set = ONE_ORGAN.model_copy(update={"mpp": 0.25})
    named = {"1": None, "2": None, "3": None, "mine": {"train": [3], "validate": [1], "test": [2]}}

    mine = settings_for(load_settings({"families": None, "splits": named}), data_set)
    first = settings_for(
        load_settings({"families": None, "splits": {**OFFICIAL_SPLITS, "2": None, "3": None}}), data_set
    )

    assert list(mine.splits) == ["mine"]
    assert list(first.splits) == ["1"]
