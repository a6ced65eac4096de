import logging

import numpy as np
import pytest

from cellvit.errors import IntegrityError, SettingsError, StaleFileError
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.tile_table import TileScores, read_tile_scores

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}
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


def scores_of(run, name: str = "routed") -> dict[str, TileScores]:
    return read_tile_scores(run.evaluated(f"{name}_tiles.csv"), COLUMNS)


def test_tiles_are_decoded_by_the_family_of_their_predicted_organ(run) -> None:
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

    assert set(evaluation.systems) == {"organ_predicted", "organ_given", "classical", "upper_bound", "trivial"}
    assert evaluation.systems["organ_given"]["aji"].n <= 4
    assert {"aji_minus_organ_given", "bpq_minus_classical"} <= set(evaluation.differences)
    assert set(evaluation.organs["Skin"]) == {"organ_predicted", "organ_given", "classical", "upper_bound"}
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
