import json
import logging

import numpy as np
import pytest

from cellvit.__main__ import main
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import RoutedEvaluation
from cellvit.formats.tile_table import read_tile_scores

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}
TEST_ORGANS = ["Colon", "Stomach", "Skin", "Breast", "Skin"]


@pytest.fixture(scope="module")
def written(write_run, write_decoder, tune, evaluate):
    run = write_run({1: ["Colon", "Skin"], 2: ["Colon", "Skin"], 3: TEST_ORGANS}, FAMILIES)
    for seed, family in enumerate(FAMILIES):
        write_decoder(run.root / f"checkpoints/{family}.safetensors", family, seed=seed)
        tune(run, family)
        evaluate(run, family)
    return run


@pytest.fixture
def run(written, copy_run):
    return copy_run(written)


def arguments_of(run) -> list[str]:
    root = run.root
    return [
        *("--settings", json.dumps({"families": FAMILIES, "seed": 0}), "--split", "1", "--test-folds", "3"),
        *("--features", str(run.features(3)), "--tiles", str(run.tiles(3))),
        *("--organ-head", str(root / "organ_head.safetensors")),
        *("--checkpoints", *(str(root / f"checkpoints/{family}.safetensors") for family in FAMILIES)),
        *("--watersheds", *(str(root / f"watershed/{family}.json") for family in FAMILIES)),
        *("--family-tiles", *(str(root / f"evaluation/{family}_tiles.csv") for family in FAMILIES)),
        *("--family-evaluations", *(str(root / f"evaluation/{family}.json") for family in FAMILIES)),
        *("--out", str(root / "routed.json"), "--tiles-csv", str(root / "routed_tiles.csv"), "--device", "cpu"),
    ]


def route(run) -> RoutedEvaluation:
    assert main(["evaluate_routed", *arguments_of(run)]) == 0
    return read_document(run.root / "routed.json", RoutedEvaluation)


def test_a_table_that_was_changed_after_it_was_written_is_refused(run, write_organ_head, capsys) -> None:
    write_organ_head(run.root / "organ_head.safetensors", "Colon")
    table = run.root / "evaluation/digestive_tiles.csv"
    table.write_text(table.read_text().replace("Colon", "Stomach", 1))

    assert main(["evaluate_routed", *arguments_of(run)]) == 1

    assert f"{table}: is not the table that its document was written with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "beside"),
    [("--family-evaluations", "--family-tiles"), ("--tiles", "--test-folds"), ("--features", "--test-folds")],
)
def test_lists_of_unequal_length_are_refused(run, option, beside, capsys) -> None:
    arguments = arguments_of(run)
    place = arguments.index(option) + 1
    arguments.insert(place, arguments[place])

    assert main(["evaluate_routed", *arguments]) == 1

    assert f"{option} must have one entry for each of {beside}, in the same order" in capsys.readouterr().err


def test_a_decoder_without_its_watershed_is_named(run, capsys) -> None:
    arguments = arguments_of(run)
    arguments.remove(str(run.root / "watershed/epidermal.json"))

    assert main(["evaluate_routed", *arguments]) == 1

    error = capsys.readouterr().err
    assert f"none is that of {run.root / 'checkpoints/epidermal.safetensors'}, family epidermal" in error
    assert f"found digestive. Make it and give it: snakemake -- {run.root / 'watershed/epidermal.json'}" in error


def test_tiles_go_to_the_family_of_their_predicted_organ(run, write_organ_head) -> None:
    write_organ_head(run.root / "organ_head.safetensors", "Colon")

    evaluation = route(run)
    tiles = read_tile_scores(run.root / "routed_tiles.csv", COLUMNS)

    assert evaluation.status == "evaluated"
    assert evaluation.n_tiles == len(tiles["routed"]) == 4
    assert set(tiles["routed"].family) == {"digestive"}
    assert evaluation.organ_head["accuracy"].value == pytest.approx(1 / 5)
    assert evaluation.organ_head["accuracy"].n == 5
    assert evaluation.organ_head["routing_accuracy"].value == pytest.approx(2 / 4)
    assert set(evaluation.organ_names) == {"Colon", "Stomach", "Skin", "Breast"}
    assert sum(map(sum, evaluation.confusion)) == 5


def test_a_tile_in_its_own_family_has_the_figures_of_its_family(run, write_organ_head) -> None:
    write_organ_head(run.root / "organ_head.safetensors", "Colon")
    known = read_tile_scores(run.root / "evaluation/digestive_tiles.csv", COLUMNS)["decoder"]

    route(run)
    routed = read_tile_scores(run.root / "routed_tiles.csv", COLUMNS)["routed"]

    own = routed.where(routed.organs != "Skin")
    assert own.tile_id == known.tile_id
    np.testing.assert_array_equal(own.values, known.values)


def test_a_tile_elsewhere_is_decoded_by_that_family(run, write_organ_head) -> None:
    write_organ_head(run.root / "organ_head.safetensors", "Skin")

    route(run)
    tiles = read_tile_scores(run.root / "routed_tiles.csv", COLUMNS)

    colon = tiles["routed"].organs == "Colon"
    assert tiles["routed"].where(colon).family == ("epidermal",)
    sums = tiles["routed"].where(colon).column("hv_square_error")
    assert sums != tiles["known"].where(tiles["known"].organs == "Colon").column("hv_square_error")


def test_tiles_of_organs_without_a_family_are_counted_and_said(run, write_organ_head, caplog) -> None:
    write_organ_head(run.root / "organ_head.safetensors", "Colon", "Skin")

    with caplog.at_level(logging.WARNING):
        evaluation = route(run)

    assert evaluation.left_out == {"their organ belongs to no family": 1}
    assert "left_out=1" in caplog.text


def test_all_systems_stand_beside_the_routed_one(run, write_organ_head) -> None:
    write_organ_head(run.root / "organ_head.safetensors", "Colon")

    evaluation = route(run)

    assert set(evaluation.systems) == {"routed", "known", "classical", "oracle", "trivial"}
    assert evaluation.systems["known"]["aji"].n <= 4
    assert {"aji_minus_known", "bpq_minus_classical"} <= set(evaluation.differences)
    assert set(evaluation.organs["Skin"]) == {"routed", "known", "classical", "oracle"}


def test_a_family_without_a_decoder_gets_no_tile(run, write_organ_head, write_decoder, tune, evaluate) -> None:
    write_organ_head(run.root / "organ_head.safetensors", "Skin")
    write_decoder(run.root / "checkpoints/epidermal.safetensors", "epidermal", status="absent")
    tune(run, "epidermal")
    evaluate(run, "epidermal")

    evaluation = route(run)
    tiles = read_tile_scores(run.root / "routed_tiles.csv", COLUMNS)

    assert set(tiles["routed"].family) == {"digestive"}
    assert len(tiles["known"]) == 2
    assert evaluation.organ_head["routing_accuracy"].n == 2


def test_without_a_head_or_decoders_the_document_says_so(run, write_organ_head, write_decoder) -> None:
    write_organ_head(run.root / "organ_head.safetensors", status="absent")

    evaluation = route(run)

    assert evaluation.status == "absent"
    assert evaluation.reason == "no OrganHead: no training tiles"
    assert evaluation.n_tiles == 5
    assert read_tile_scores(run.root / "routed_tiles.csv", COLUMNS) == {}
