"""Steps on folds with a tile of which half is not annotated, and one that is not annotated at all."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
from annotations import RIGHT, WHOLE, inked, without_annotation

from cellvit.config.evaluation import IntegrityGates, RoutingSettings, WatershedSettings
from cellvit.errors import IntegrityError
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.documents import Values, read_document
from cellvit.formats.gallery import Gallery
from cellvit.formats.tile_table import read_tile_scores
from cellvit.formats.tiles import NotAnnotated, TargetCheck
from cellvit.stages import check_targets

FAMILIES = {"digestive": ("Colon", "Stomach"), "all": ("Colon", "Stomach")}
ORGANS = {1: ["Colon", "Stomach", "Colon", "Colon"], 2: ["Colon", "Stomach", "Colon", "Colon"]} | {
    3: ["Colon", "Stomach", "Colon", "Colon"]
}
PARTS = {0: RIGHT, 1: WHOLE}
MISSING = NotAnnotated(share=0.375, n_partly=1, n_wholly=1)


@pytest.fixture(scope="module")
def run(write_run):
    run = write_run(ORGANS, FAMILIES, change=without_annotation(PARTS))
    for family in FAMILIES:
        run.write_decoder(family)
        run.tune(family)
    run.write_organ_head("Colon", "Stomach")
    return run


@pytest.fixture(scope="module")
def evaluated(run):
    return {family: run.evaluate(family, shared=family != "all") for family in FAMILIES}


def test_an_evaluation_counts_what_is_not_annotated_and_scores_the_rest(run, evaluated, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        evaluation = run.evaluate("digestive", shared=True)
    systems = evaluation.systems

    assert evaluation.not_annotated == MISSING
    assert (evaluation.n_tiles, evaluation.n_nuclei) == (4, 5)  # two of the left half, three of the third tile
    assert "not_scored=1: tiles that are not annotated" in caplog.text
    assert systems["upper_bound"]["aji"].value > 0.9
    assert systems["upper_bound"]["bpq"].n == 2
    assert systems["classical"]["bpq"].value > 0.7
    assert {systems["decoder"][name].n for name in ("np_dice", "hv_mse", "nt_accuracy", "count_bias")} == {3}
    assert systems["trivial"]["np_dice"].n == 3
    assert math.isnan(evaluation.organs["Stomach"]["upper_bound"]["aji"].value)
    assert evaluation.train["np_dice"].n == 3


def test_the_table_of_tiles_has_empty_cells_for_a_tile_that_is_not_scored(run, evaluated) -> None:
    scores = read_tile_scores(run.evaluated("digestive_tiles.csv"), COLUMNS)["upper_bound"]

    assert scores.column("annotated").tolist() == [0.5, 0, 1, 1]
    assert scores.column("n_true")[[0, 2, 3]].tolist() == [2, 3, 0]
    assert np.isnan(scores.column("n_true")[1])
    assert np.isnan(scores.column("aji")[1])


def test_the_gallery_shows_scored_tiles_and_how_much_of_them_is_not_annotated(run, evaluated) -> None:
    gallery = read_document(run.evaluated("digestive_gallery.json"), Gallery)

    shown = {tile.tile_id: tile.not_annotated for tile in gallery.tiles}
    assert shown == {"f3-00000": 0.5, "f3-00002": 0.0, "f3-00003": 0.0}  # the last one is of the random sample


def test_all_test_tiles_together_count_it_too(run, evaluated) -> None:
    routed = run.route(RoutingSettings())

    assert routed.not_annotated == MISSING
    assert routed.systems["organ_predicted"]["np_dice"].n == 3
    assert routed.systems["upper_bound"]["bpq"].n == 2


@pytest.mark.parametrize("select_by", ["bpq", "mpq", "aji"])
def test_tuning_leaves_out_the_validation_tile_that_is_not_annotated(run, select_by) -> None:
    choice = run.tune(
        "digestive", WatershedSettings(select_by=select_by, np_threshold=(0.4, 0.5), method=("hovernet",))
    )

    values = {tile.tile_id: tile.value for tile in choice.validation}
    assert choice.status == "tuned"
    assert math.isnan(values["f2-00001"])
    assert choice.classical_value.n == 2 if select_by != "aji" else choice.classical_value.n <= 3
    assert choice.classical_value.value > 0.5
    run.tune("digestive")


def test_ink_on_what_is_not_annotated_changes_no_value_of_the_baseline_and_the_upper_bound(
    run, evaluated, write_run
) -> None:
    other = write_run(ORGANS, FAMILIES, change=lambda batch: inked(without_annotation(PARTS)(batch)))
    for family in FAMILIES:
        other.write_decoder(family)
    choice, expected = other.tune("digestive"), run.tune("digestive")
    other.tune("all")

    evaluation = other.evaluate("digestive", shared=True)

    before = evaluated["digestive"].systems
    assert (choice.classical, choice.classical_value) == (expected.classical, expected.classical_value)
    for system in ("classical", "upper_bound"):
        assert shown(evaluation.systems[system]) == shown(before[system])


def shown(values: Values) -> dict[str, str]:
    return {name: value.model_dump_json() for name, value in values.items()}


def check(run, out: Path, **gates: object) -> TargetCheck:
    (tiles,) = run.tiles(1)
    check_targets.run(check_targets.Arguments(settings=IntegrityGates(**gates), fold=1, tiles=tiles, check=out))
    return read_document(out, TargetCheck)


def test_targets_are_checked_over_annotated_pixels(run, tmp_path) -> None:
    document = check(run, tmp_path / "check.json")

    nuclear_px = 2 * 22**2 * math.pi + 2 * 22**2 * math.pi + 18**2 * math.pi
    assert document.coverage == pytest.approx(nuclear_px / (2.5 * 256**2), rel=0.02)
    assert document.not_annotated == MISSING
    assert document.n_nuclei == 5
    assert {values["aji"].n for values in document.upper_bound.values()} == {2}
    assert all(values["aji"].value > 0.9 for values in document.upper_bound.values())
    with pytest.raises(IntegrityError, match=rf"np_coverage: expected 0.9 to 0.95, found {document.coverage:.4f}"):
        check(run, tmp_path / "other.json", np_coverage=(0.9, 0.95))


def test_a_fold_of_tiles_that_are_not_annotated_has_nothing_to_check(write_run, tmp_path, caplog) -> None:
    none = write_run({1: ["Colon"] * 2}, {}, change=without_annotation({0: WHOLE, 1: WHOLE}))

    with caplog.at_level(logging.WARNING):
        document = check(none, tmp_path / "check.json")

    assert document.not_annotated == NotAnnotated(share=1.0, n_partly=0, n_wholly=2)
    assert math.isnan(document.coverage)
    assert document.checks == ()
    assert "fold=1 has no nucleus in 2 tiles" in caplog.text


def test_a_run_without_an_annotated_test_tile_has_undefined_values(write_run) -> None:
    run = write_run(
        {1: ["Colon"] * 3, 2: ["Colon"] * 3, 3: ["Colon"] * 3},
        {"digestive": ("Colon",)},
        change=without_annotation(dict.fromkeys(range(3), WHOLE)),
    )
    run.write_decoder("digestive")

    choice = run.tune("digestive")
    evaluation = run.evaluate("digestive")

    assert (choice.status, choice.reason.split(";")[0]) == ("default", "bpq is not defined on any validation tile")
    assert evaluation.not_annotated == NotAnnotated(share=1.0, n_partly=0, n_wholly=3)
    for system in evaluation.systems.values():
        assert {value.n for value in system.values()} == {0}
        assert all(math.isnan(value.value) for value in system.values())
