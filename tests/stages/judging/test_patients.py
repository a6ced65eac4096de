"""From patients.npy of a fold to the intervals of every document."""

import json
import math

import numpy as np
import pytest

from cellvit.__main__ import main
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.documents import read_document
from cellvit.formats.evaluations import RoutedEvaluation
from cellvit.formats.tile_table import read_tile_scores
from cellvit.formats.tiles import FoldSummary, TargetCheck
from cellvit.metrics.intervals import bootstrap_mean

FAMILIES = {"digestive": ("Colon", "Stomach")}
ORGANS = {1: ["Colon"] * 4, 2: ["Colon"] * 4, 3: ["Colon", "Colon", "Stomach", "Stomach", "Colon"]}
PATIENTS = {1: ["a", "a", "b", "b"], 2: ["c", "c", "c", "d"], 3: ["e", "e", "f", "f", ""]}


@pytest.fixture
def evaluated(tmp_path, write_raw_fold, write_run, write_decoder, write_organ_head, tune, evaluate):
    """Run every step from raw folds with the given patients to both evaluations."""

    def run_all(patients):
        def prepare(path, fold, organs):
            write_raw_fold(tmp_path / "raw", fold, organs, patients=patients.get(fold, ()))
            files = ["--tiles", str(path), "--summary", str(path.with_suffix(".json"))]
            assert main(["prepare_fold", "--root", str(tmp_path / "raw"), "--fold", str(fold), *files]) == 0

        run = write_run(ORGANS, FAMILIES, write_tiles=prepare)
        write_decoder(run.root / "checkpoints/digestive.safetensors", "digestive")
        write_organ_head(run.root / "organ_head.safetensors", "Colon", "Stomach")
        return run, tune(run, "digestive"), evaluate(run, "digestive")[0], route(run)

    return run_all


def route(run) -> RoutedEvaluation:
    root = run.root
    arguments = [
        *("--settings", json.dumps({"families": FAMILIES, "seed": 0}), "--split", "1", "--test-folds", "3"),
        *("--features", str(run.features(3)), "--tiles", str(run.tiles(3))),
        *("--organ-head", str(root / "organ_head.safetensors")),
        *("--checkpoints", str(root / "checkpoints/digestive.safetensors")),
        *("--watersheds", str(root / "watershed/digestive.json")),
        *("--family-tiles", str(root / "evaluation/digestive_tiles.csv")),
        *("--family-evaluations", str(root / "evaluation/digestive.json")),
        *("--out", str(root / "routed.json"), "--tiles-csv", str(root / "routed_tiles.csv"), "--device", "cpu"),
    ]
    assert main(["evaluate_routed", *arguments]) == 0
    return read_document(root / "routed.json", RoutedEvaluation)


def oracle_of(run):
    out = run.root / "check.json"
    targets = ["--targets", str(run.targets_of("digestive"))]
    assert main(["check_targets", "--settings", "{}", "--family", "digestive", *targets, "--out", str(out)]) == 0
    return read_document(out, TargetCheck).oracle["hovernet"]["aji"]


def test_patients_of_the_folds_are_what_intervals_draw(evaluated) -> None:
    run, choice, family, routed = evaluated(PATIENTS)
    tiles = read_tile_scores(run.root / "evaluation/digestive_tiles.csv", COLUMNS)

    assert read_document(run.tiles(3).with_suffix(".json"), FoldSummary).n_patients == 2
    assert (family.n_patients, family.n_tiles_without_patient, family.n_tiles) == (2, 1, 5)
    assert (routed.n_patients, routed.n_tiles_without_patient) == (2, 1)
    assert family.n_patients_trained_on == 0
    assert tiles["classical"].patient == tuple(PATIENTS[3])
    assert read_tile_scores(run.root / "routed_tiles.csv", COLUMNS)["routed"].patient == tuple(PATIENTS[3])
    dice = tiles["classical"].column("dice")
    by_hand = bootstrap_mean(dice, rng=np.random.default_rng(0), groups=np.array([0, 0, 1, 1, 2]))
    figure = family.systems["classical"]["dice"]
    assert (figure.value, figure.low, figure.high, figure.n) == by_hand
    assert figure.low < figure.high
    assert not math.isnan(choice.grid[0].aji.low)


def test_without_patients_values_are_the_same_and_intervals_are_over_tiles(evaluated, tmp_path) -> None:
    *_, with_patients, routed_with = evaluated(PATIENTS)
    for fold in ORGANS:
        (tmp_path / f"raw/Fold {fold}/images/fold{fold}/patients.npy").unlink()

    *_, without, routed_without = evaluated({})

    assert (without.n_patients, without.n_tiles_without_patient, routed_without.n_patients) == (0, 5, 0)
    for part in ("train", "gaps", "differences"):
        ours, theirs = getattr(with_patients, part), getattr(without, part)
        assert {name: one.value for name, one in ours.items()} == pytest.approx(
            {name: one.value for name, one in theirs.items()}, nan_ok=True
        )
        assert ends(ours) != ends(theirs), part
    for system in ("decoder", "classical", "oracle", "trivial"):
        assert ends(with_patients.systems[system]) != ends(without.systems[system]), system
    assert ends(routed_with.organ_head) != ends(routed_without.organ_head)


def ends(figures) -> list[tuple[float, float]]:
    """Ends of the intervals that there are."""
    return [(one.low, one.high) for one in figures.values() if not math.isnan(one.low)]


def test_a_single_patient_gives_figures_without_intervals_everywhere(evaluated) -> None:
    one_patient = {fold: ["the only one"] * len(organs) for fold, organs in ORGANS.items()}

    run, choice, family, routed = evaluated(one_patient)

    assert (family.n_patients, routed.n_patients) == (1, 1)
    figures = [
        *(figure for system in family.systems.values() for figure in system.values()),
        *(figure for system in routed.systems.values() for figure in system.values()),
        *(*family.train.values(), *family.gaps.values(), *family.differences.values(), *routed.organ_head.values()),
        *(point.aji for point in choice.grid),
        oracle_of(run),
    ]
    assert family.n_patients_trained_on == 1
    assert any(not math.isnan(figure.value) for figure in figures)
    assert all(math.isnan(figure.low) and math.isnan(figure.high) for figure in figures)
