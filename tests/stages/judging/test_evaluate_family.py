import logging
import math

import pytest

from cellvit.__main__ import main
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.digests import sha256_of

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",), "all": ("Colon", "Stomach", "Skin")}


@pytest.fixture(scope="module")
def written(write_run, write_decoder, tune):
    run = write_run(
        {1: ["Colon", "Skin", "Colon"], 2: ["Colon", "Stomach"], 3: ["Colon", "Stomach", "Breast", "Colon"]}, FAMILIES
    )
    for family in FAMILIES:
        write_decoder(run.root / f"checkpoints/{family}.safetensors", family)
        tune(run, family)
    return run


@pytest.fixture
def run(written, copy_run):
    return copy_run(written)


def pooled(run) -> list[str]:
    root = run.root
    return [
        *("--pooled-checkpoint", str(root / "checkpoints/all.safetensors")),
        *("--pooled-watershed", str(root / "watershed/all.json")),
    ]


def test_a_decoder_stands_beside_its_baselines_and_its_ceiling(run, evaluate) -> None:
    evaluation, tiles = evaluate(run, "digestive", *pooled(run))

    assert evaluation.status == "evaluated"
    assert (evaluation.n_tiles, evaluation.n_nuclei) == (3, 6)
    assert list(evaluation.systems) == ["decoder", "pooled", "classical", "oracle", "trivial"]
    assert list(tiles) == ["decoder", "pooled", "classical", "oracle"]
    assert evaluation.systems["oracle"]["aji"].value > 0.9
    assert evaluation.systems["oracle"]["mpq"].value > 0.9
    assert evaluation.systems["classical"]["bpq"].value > 0.8
    assert evaluation.systems["trivial"]["np_dice"].value < 0.3
    assert evaluation.systems["trivial"]["hv_mse"].value == pytest.approx(0.25, abs=0.03)
    assert set(evaluation.gaps) == set(evaluation.systems["trivial"])
    assert evaluation.train["np_dice"].n == 2


def test_every_figure_carries_its_n_and_an_absent_class_is_undefined(run, evaluate) -> None:
    evaluation, _ = evaluate(run, "digestive")

    oracle = evaluation.systems["oracle"]
    assert oracle["bpq"].n == 2
    assert oracle["pq_neoplastic"].n == 2
    assert math.isnan(oracle["pq_dead"].value)
    assert oracle["pq_dead"].n == 0
    assert evaluation.organs["Stomach"]["oracle"]["bpq"].n == 1


def test_an_evaluation_names_the_table_that_was_written_beside_it(run, evaluate) -> None:
    document, _ = evaluate(run, "digestive")

    assert document.tables == {"tiles": sha256_of(run.root / "evaluation/digestive_tiles.csv")}


def test_measurements_of_tiles_have_all_columns(run, evaluate) -> None:
    _, tiles = evaluate(run, "digestive")

    assert tiles["decoder"].columns == COLUMNS
    assert tiles["decoder"].tile_id == ("f3-00000", "f3-00001", "f3-00003")
    assert tiles["decoder"].organ == ("Colon", "Stomach", "Colon")


def test_a_decoder_does_not_differ_from_one_with_the_same_weights(run, evaluate) -> None:
    evaluation, _ = evaluate(run, "digestive", *pooled(run))

    for metric in ("aji", "bpq"):
        assert evaluation.differences[f"{metric}_minus_pooled"].value == 0
    assert "aji_minus_classical" in evaluation.differences


def test_the_decoder_for_all_organs_is_judged_by_itself(run, evaluate) -> None:
    evaluation, _ = evaluate(run, "all")

    assert evaluation.n_tiles == 3
    assert "pooled" not in evaluation.systems


def test_a_family_without_test_tiles_is_absent_and_said(run, evaluate, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        evaluation, tiles = evaluate(run, "epidermal", *pooled(run))

    assert evaluation.status == "absent"
    assert evaluation.reason == "no tiles in test folds [3]"
    assert tiles == {}
    assert "family=epidermal absent" in caplog.text


def test_a_family_without_a_decoder_is_absent_with_the_reason_of_its_checkpoint(run, evaluate, write_decoder) -> None:
    write_decoder(run.root / "checkpoints/digestive.safetensors", "digestive", status="absent")

    evaluation, tiles = evaluate(run, "digestive")

    assert evaluation.status == "absent"
    assert "no tiles in training folds" in evaluation.reason
    assert evaluation.n_tiles == 3
    assert tiles == {}


def test_a_control_that_could_not_be_trained_is_left_out(run, evaluate, write_decoder) -> None:
    write_decoder(run.root / "checkpoints/all.safetensors", "all", status="absent")

    evaluation, _ = evaluate(run, "digestive", *pooled(run))

    assert "pooled" not in evaluation.systems


def test_a_decoder_that_has_seen_the_test_fold_is_refused(run, evaluate, write_decoder, capsys) -> None:
    write_decoder(run.root / "checkpoints/digestive.safetensors", "digestive", folds=(1, 3))

    with pytest.raises(AssertionError):
        evaluate(run, "digestive")

    assert "has seen fold 3" in capsys.readouterr().err
    assert not (run.root / "evaluation/digestive.json").exists()


def test_a_decoder_of_another_family_is_refused(run, evaluate, write_decoder, capsys) -> None:
    write_decoder(run.root / "checkpoints/digestive.safetensors", "epidermal")

    with pytest.raises(AssertionError):
        evaluate(run, "digestive")

    assert "file has 1, epidermal, run asks for 1, digestive" in capsys.readouterr().err


def test_the_help_names_every_option(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate_family", "--help"])

    assert "--pooled-checkpoint" in capsys.readouterr().out
