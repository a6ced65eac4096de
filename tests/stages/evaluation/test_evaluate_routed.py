import logging

import numpy as np
import pytest

from cellvit.config.evaluation import RoutingSettings
from cellvit.errors import IntegrityError, SettingsError, StaleFileError
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.documents import write_document
from cellvit.formats.tile_table import TileScores, read_tile_scores

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}
SHARED = {"all": ("Colon", "Stomach", "Skin")}
TEST_ORGANS = ["Colon", "Stomach", "Skin", "Breast", "Skin"]


@pytest.fixture(scope="module")
def written(write_run):
    run = write_run({1: ["Colon", "Skin"], 2: ["Colon", "Skin"], 3: TEST_ORGANS}, FAMILIES)
    for seed, family in enumerate(FAMILIES):
        run.write_decoder(family, seed=seed)
        run.tune(family)
        run.evaluate(family)
    return run


@pytest.fixture
def run(written, copy_run):
    copy = copy_run(written)
    copy.write_organ_head("Colon")
    return copy


@pytest.fixture(scope="module")
def written_with_shared(write_run):
    """A run with a shared decoder, which has value 0.8 on every validation tile, where the families have 0.2 and 0.9."""
    run = write_run({1: ["Colon", "Skin"], 2: ["Colon", "Skin", "Colon"], 3: TEST_ORGANS}, FAMILIES | SHARED)
    for seed, (family, value) in enumerate({"digestive": 0.2, "epidermal": 0.9, "all": 0.8}.items()):
        run.write_decoder(family, seed=seed)
        choice = run.tune(family)
        tiles = tuple(tile.model_copy(update={"value": value}) for tile in choice.validation)
        write_document(run.watershed(family), choice.model_copy(update={"validation": tiles}))
    for family in run.families:
        run.evaluate(family, shared=family != "all")
    return run


@pytest.fixture
def run_with_shared(written_with_shared, copy_run):
    copy = copy_run(written_with_shared)
    copy.write_organ_head("Colon", "Skin")
    return copy


def scores_of(run, name: str = "routed") -> dict[str, TileScores]:
    return read_tile_scores(run.evaluated(f"{name}_tiles.csv"), COLUMNS)


def test_tiles_are_decoded_by_the_decoder_of_their_predicted_organ(run) -> None:
    evaluation = run.route()
    scores = scores_of(run)["organ_predicted"]

    assert evaluation.status == "evaluated"
    assert evaluation.n_tiles == len(scores) == 4
    assert set(scores.text("family")) == {"digestive"}
    assert (evaluation.organ_head["accuracy"].value, evaluation.organ_head["accuracy"].n) == (pytest.approx(1 / 5), 5)
    assert evaluation.organ_head["routing_accuracy"].value == pytest.approx(2 / 4)
    assert set(evaluation.organ_names) == {"Colon", "Stomach", "Skin", "Breast"}
    assert sum(map(sum, evaluation.confusion)) == 5


def test_a_tile_in_its_own_family_has_the_scores_of_its_family(run) -> None:
    given = scores_of(run, "digestive")["decoder"]

    run.route()

    scores = scores_of(run)["organ_predicted"]
    own = scores.where(scores.organs != "Skin")
    assert own.text("tile_id") == given.text("tile_id")
    np.testing.assert_array_equal(own.block(COLUMNS), given.block(COLUMNS))


def test_a_tile_in_another_family_is_decoded_by_that_family(run) -> None:
    run.write_organ_head("Skin")

    run.route()

    predicted, given = (scores_of(run)[system] for system in ("organ_predicted", "organ_given"))
    colon = predicted.where(predicted.organs == "Colon")
    assert colon.text("family") == ("epidermal",)
    assert colon.column("hv_square_error") != given.where(given.organs == "Colon").column("hv_square_error")


def test_all_systems_are_compared_and_tiles_without_a_family_are_counted(run, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        evaluation = run.route()

    assert set(evaluation.systems) == {
        "organ_predicted",
        "organ_given",
        "families",
        "classical",
        "upper_bound",
        "trivial",
    }
    assert evaluation.systems["organ_given"]["aji"].n <= 4
    assert {"aji_minus_organ_given", "bpq_minus_classical"} <= set(evaluation.differences)
    assert set(evaluation.organs["Skin"]) == {"organ_predicted", "organ_given", "families", "classical", "upper_bound"}
    assert evaluation.left_out == {"their organ belongs to no family": 1}
    assert "left_out=1" in caplog.text


def test_a_family_without_a_decoder_decodes_no_tile(run) -> None:
    run.write_organ_head("Skin")
    run.write_decoder("epidermal", status="absent")
    run.tune("epidermal")
    run.evaluate("epidermal")

    evaluation = run.route()

    assert set(scores_of(run)["organ_predicted"].text("family")) == {"digestive"}
    assert len(scores_of(run)["organ_given"]) == 2
    assert evaluation.organ_head["routing_accuracy"].n == 2


def test_the_shared_decoder_is_used_for_the_organs_where_validation_says_so(run_with_shared, monkeypatch) -> None:
    monkeypatch.setattr("cellvit.evaluation.decoder_choice.MIN_TILES", 1)

    evaluation = run_with_shared.route()

    chosen = {choice.organ: (choice.decoder, choice.chosen_by) for choice in evaluation.decoders}
    systems = scores_of(run_with_shared)
    predicted, given, families = (systems[name] for name in ("organ_predicted", "organ_given", "families"))
    assert chosen == {"Colon": ("all", "organ"), "Stomach": ("all", "family"), "Skin": ("epidermal", "organ")}
    assert dict(zip(given.text("organ"), given.text("family"), strict=True)) == {
        "Colon": "all",
        "Stomach": "all",
        "Skin": "epidermal",
    }
    assert set(families.text("family")) == {"digestive", "epidermal"}
    assert set(predicted.text("family")) <= {"all", "epidermal"}
    assert {"aji_minus_families", "aji_minus_organ_given", "aji_minus_shared"} <= set(evaluation.differences)


def test_the_shared_decoder_is_never_run_again(run_with_shared, monkeypatch) -> None:
    run_with_shared.write_organ_head("Colon")
    monkeypatch.setattr("cellvit.stages.evaluate_routed.predict_maps", None)
    shared = scores_of(run_with_shared, "all")["decoder"]

    run_with_shared.route()

    systems = scores_of(run_with_shared)
    own = systems["organ_predicted"]
    np.testing.assert_array_equal(own.block(COLUMNS), shared.block(COLUMNS))
    np.testing.assert_array_equal(systems["shared"].block(COLUMNS), shared.block(COLUMNS))


def test_the_difference_on_test_tiles_is_recorded_and_decides_nothing(run_with_shared) -> None:
    own, shared = scores_of(run_with_shared, "epidermal")["decoder"], scores_of(run_with_shared, "all")["decoder"]

    choices = {choice.organ: choice for choice in run_with_shared.route().decoders}

    skin = choices["Skin"]
    expected = own.column("bpq") - shared.where(shared.organs == "Skin").column("bpq")
    assert (skin.own.value, skin.shared.value, skin.metric) == (0.9, 0.8, "bpq")
    assert skin.difference.value == pytest.approx(0.1)
    assert skin.test.value == pytest.approx(np.nanmean(expected))
    assert choices["Stomach"].own is None


def test_by_setting_each_organ_has_the_decoder_of_its_family(run_with_shared) -> None:
    evaluation = run_with_shared.route(RoutingSettings(decoder="family"))

    assert {choice.decoder for choice in evaluation.decoders} == {"digestive", "epidermal"}
    assert {choice.chosen_by for choice in evaluation.decoders} == {"setting"}
    assert evaluation.decoders[0].difference.value == pytest.approx(-0.6)


def test_a_family_without_a_decoder_has_the_shared_one(run_with_shared) -> None:
    run_with_shared.write_decoder("epidermal", status="absent")
    run_with_shared.tune("epidermal")
    run_with_shared.evaluate("epidermal", shared=True)
    run_with_shared.write_organ_head("Skin")

    evaluation = run_with_shared.route(RoutingSettings(decoder="family"))

    skin = evaluation.decoders[-1]
    assert (skin.organ, skin.decoder, skin.chosen_by) == ("Skin", "all", "alone")
    assert set(scores_of(run_with_shared)["organ_predicted"].text("family")) == {"all"}
    assert evaluation.organ_head["routing_accuracy"].n == 4


def test_without_a_head_the_document_says_so(run) -> None:
    run.write_organ_head(status="absent")

    evaluation = run.route()

    assert (evaluation.status, evaluation.n_tiles) == ("absent", 5)
    assert evaluation.reason == "no OrganHead: no tiles in training folds [1]"
    assert scores_of(run) == {}


def test_a_table_that_was_changed_is_refused(run) -> None:
    table = run.evaluated("digestive_tiles.csv")
    table.write_text(table.read_text().replace("Colon", "Stomach", 1))

    with pytest.raises(IntegrityError, match=f"{table}: the table was changed"):
        run.route()


def test_lists_in_another_order_or_of_another_length_are_refused(run) -> None:
    with pytest.raises(StaleFileError, match="file has 1, epidermal, run asks for 1, digestive"):
        run.route(watersheds=tuple(run.watershed(family) for family in reversed(FAMILIES)))
    with pytest.raises(SettingsError, match="--tables: expected one entry for each of --checkpoints"):
        run.route(tables=(run.evaluated("digestive_tiles.csv"),))
    with pytest.raises(SettingsError, match="--tiles: expected one entry for each of --test-folds"):
        run.route(tiles=run.tiles(3) * 2)
