import logging
import math

import numpy as np
import pytest

from cellvit.errors import IntegrityError, StaleFileError
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import read_document
from cellvit.formats.gallery import Gallery
from cellvit.formats.seen import image_digests
from cellvit.formats.tile_table import TileScores, read_tile_scores
from cellvit.formats.tiles import open_tiles

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",), "all": ("Colon", "Stomach", "Skin")}
TEST_ORGANS = ["Colon", "Stomach", "Breast", "Colon"]


@pytest.fixture(scope="module")
def written(write_run):
    run = write_run({1: ["Colon", "Skin", "Colon"], 2: ["Colon", "Stomach"], 3: TEST_ORGANS}, FAMILIES)
    for family in FAMILIES:
        run.write_decoder(family)
        run.tune(family)
    return run


@pytest.fixture(scope="module")
def evaluated(written):
    """A run whose family digestive is evaluated with the shared decoder, and its evaluation."""
    return written, written.evaluate("digestive", shared=True)


@pytest.fixture
def run(written, copy_run):
    return copy_run(written)


def scores_of(run, family: str) -> dict[str, TileScores]:
    return read_tile_scores(run.evaluated(f"{family}_tiles.csv"), COLUMNS)


def gallery_of(run, family: str) -> Gallery:
    return read_document(run.evaluated(f"{family}_gallery.json"), Gallery)


def test_a_decoder_has_its_baselines_and_its_upper_bound(evaluated) -> None:
    _, evaluation = evaluated
    systems = evaluation.systems

    assert evaluation.status == "evaluated"
    assert (evaluation.n_tiles, evaluation.n_nuclei) == (3, 6)
    assert list(systems) == ["decoder", "shared", "classical", "upper_bound", "trivial"]
    assert min(systems["upper_bound"][name].value for name in ("aji", "mpq")) > 0.9
    assert systems["classical"]["bpq"].value > 0.8
    assert systems["trivial"]["np_dice"].value < 0.3
    assert systems["trivial"]["hv_mse"].value == pytest.approx(0.25, abs=0.03)
    assert set(evaluation.gaps) == set(systems["trivial"])
    assert evaluation.train["np_dice"].n == 2


def test_every_value_has_its_n_and_an_absent_class_is_undefined(evaluated) -> None:
    _, evaluation = evaluated
    upper_bound = evaluation.systems["upper_bound"]

    assert upper_bound["bpq"].n == upper_bound["pq_neoplastic"].n == 2
    assert math.isnan(upper_bound["pq_dead"].value)
    assert upper_bound["pq_dead"].n == 0
    assert evaluation.organs["Stomach"]["upper_bound"]["bpq"].n == 1


def test_a_decoder_does_not_differ_from_one_with_the_same_weights(evaluated) -> None:
    _, evaluation = evaluated

    assert [evaluation.differences[f"{metric}_minus_shared"].value for metric in ("aji", "bpq")] == [0, 0]
    assert "aji_minus_classical" in evaluation.differences


def test_the_table_has_every_score_of_every_system(evaluated) -> None:
    run, evaluation = evaluated
    scores = scores_of(run, "digestive")

    assert evaluation.tables == {"tiles": sha256_of(run.evaluated("digestive_tiles.csv"))}
    assert list(scores) == ["decoder", "shared", "classical", "upper_bound"]
    assert scores["decoder"].columns == COLUMNS
    assert scores["decoder"].text("tile_id") == ("f3-00000", "f3-00001", "f3-00003")
    assert scores["decoder"].text("organ") == ("Colon", "Stomach", "Colon")


def test_the_gallery_shows_the_tiles_with_nuclei_and_a_random_sample_of_all(evaluated) -> None:
    run, evaluation = evaluated
    gallery, decoder = gallery_of(run, "digestive"), scores_of(run, "digestive")["decoder"]

    assert (gallery.split, gallery.family, gallery.note) == ("1", "digestive", "")
    best, worst = (tile for tile in gallery.tiles if tile.rank != "random")
    assert sorted((best.tile_id, worst.tile_id)) == ["f3-00000", "f3-00001"]
    assert (best.rank, worst.rank) == ("best", "worst")
    assert [tile.tile_id for tile in gallery.tiles if tile.rank == "random"] == ["f3-00003"]  # it has no nuclei
    assert best.aji["decoder"] == max(decoder.column("aji")[:2])
    assert set(best.aji) == {"decoder", "shared", "classical", "upper_bound"}
    assert best.n_predicted == decoder.column("n_predicted")[decoder.text("tile_id").index(best.tile_id)]
    assert gallery.provenance == evaluation.provenance


def test_the_shared_decoder_is_evaluated_like_a_family(run) -> None:
    evaluation = run.evaluate("all")

    assert evaluation.n_tiles == 3
    assert "shared" not in evaluation.systems


def test_a_family_without_test_tiles_is_absent(run, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        evaluation = run.evaluate("epidermal", shared=True)

    assert (evaluation.status, evaluation.reason) == ("absent", "no tiles in test folds [3]")
    assert scores_of(run, "epidermal") == {}
    assert (gallery_of(run, "epidermal").tiles, gallery_of(run, "epidermal").note) == ((), evaluation.reason)
    assert "family=epidermal absent" in caplog.text


def test_a_family_without_a_decoder_is_absent_with_the_reason_of_its_checkpoint(run) -> None:
    run.write_decoder("digestive", status="absent")
    run.tune("digestive")

    evaluation = run.evaluate("digestive")

    assert (evaluation.status, evaluation.reason) == ("absent", "no tiles in training folds [1]")
    assert evaluation.n_tiles == 3
    assert scores_of(run, "digestive") == {}


def test_a_shared_decoder_that_could_not_be_trained_is_left_out(run) -> None:
    run.write_decoder("all", status="absent")
    run.tune("all")

    assert "shared" not in run.evaluate("digestive", shared=True).systems


def test_a_decoder_that_has_seen_the_test_fold_is_refused(run) -> None:
    run.write_decoder("digestive", folds={"train": (1,), "validate": (3,)})

    with pytest.raises(IntegrityError, match="has seen fold 3"):
        run.evaluate("digestive")


def test_a_decoder_that_has_seen_a_test_image_in_another_run_is_refused(run) -> None:
    with open_tiles(*run.tiles(3)) as tiles:
        seen = image_digests(tiles, np.array([1]))
    run.write_decoder("digestive", seen=seen)
    run.tune("digestive")

    with pytest.raises(
        IntegrityError, match=r"have seen 1 of 3 test tiles .*\(f3-00001 .*Fix: set training.start_from"
    ):
        run.evaluate("digestive")


def test_a_decoder_of_another_family_is_refused(run) -> None:
    run.write_decoder("epidermal", file="digestive")

    with pytest.raises(StaleFileError, match="file has 1, epidermal, run asks for 1, digestive"):
        run.evaluate("digestive")


def test_a_watershed_that_was_tuned_for_a_decoder_of_another_run_is_refused(run) -> None:
    run.write_decoder("digestive", seed=1)

    with pytest.raises(
        StaleFileError, match=r"digestive\.json: expected a file that was made with .*found one of another decoder"
    ):
        run.evaluate("digestive")
