"""From the patients of a fold to the intervals of every document."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from cellvit.config.evaluation import IntegrityGates
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.documents import read_document
from cellvit.formats.tile_table import read_tile_scores
from cellvit.formats.tiles import TargetCheck
from cellvit.hover.decode import METHODS
from cellvit.hover.parameters import Classical
from cellvit.metrics.intervals import interval_of_mean
from cellvit.stages import check_targets

FAMILIES = {"digestive": ("Colon", "Stomach")}
ORGANS = {1: ["Colon"] * 4, 2: ["Colon"] * 4, 3: ["Colon", "Colon", "Stomach", "Stomach", "Colon"]}
PATIENTS = {1: ["a", "a", "b", "b"], 2: ["c", "c", "d", "d"], 3: ["e", "e", "f", "f", ""]}
ONE_PATIENT = {fold: ["the only one"] * len(organs) for fold, organs in ORGANS.items()}


@pytest.fixture(scope="module")
def evaluated(write_run):
    """Run every step on folds with the given patients."""

    def run_all(patients):
        run = write_run(ORGANS, FAMILIES, patients)
        run.write_decoder("digestive")
        run.write_organ_head("Colon", "Stomach")
        return run, run.tune("digestive"), run.evaluate("digestive"), run.route(), run.evaluate_organ_head()

    return run_all


@pytest.fixture(scope="module")
def with_patients(evaluated):
    return evaluated(PATIENTS)


def test_intervals_are_over_the_patients_of_the_folds(with_patients) -> None:
    run, choice, *evaluations = with_patients
    classical = read_tile_scores(run.evaluated("digestive_tiles.csv"), COLUMNS)["classical"]
    routed = read_tile_scores(run.evaluated("routed_tiles.csv"), COLUMNS)["organ_predicted"]

    for evaluation in evaluations:
        assert (evaluation.n_patients, evaluation.n_tiles_without_patient, evaluation.n_tiles) == (2, 1, 5)
    assert evaluations[0].n_patients_trained_on == 0
    assert classical.text("patient") == routed.text("patient") == tuple(PATIENTS[3])
    value = evaluations[0].systems["classical"]["dice"]
    groups = np.array([0, 0, 1, 1, 2])
    by_hand = interval_of_mean(classical.column("dice"), groups=groups)
    assert (value.value, value.low, value.high, value.n, value.units) == by_hand
    assert value.low < value.high
    assert (choice.tried[0].value.n, choice.tried[0].value.units) == (3, 2)


def test_without_patients_values_are_the_same_and_intervals_are_over_tiles(with_patients, evaluated) -> None:
    *_, family, routed, head = with_patients
    *_, family_without, routed_without, head_without = evaluated({})

    assert (family_without.n_patients, family_without.n_tiles_without_patient, routed_without.n_patients) == (0, 5, 0)
    for part in ("train", "gaps", "differences"):
        ours, theirs = getattr(family, part), getattr(family_without, part)
        assert {name: value.value for name, value in ours.items()} == pytest.approx(
            {name: value.value for name, value in theirs.items()}, nan_ok=True
        )
        assert ends(ours) != ends(theirs), part
    for system in ("decoder", "trivial"):  # the tuned classical baseline finds every disc: its intervals have no width
        assert ends(family.systems[system]) != ends(family_without.systems[system]), system
    assert ends(routed.organ_head) != ends(routed_without.organ_head)
    assert {organ: value.units for organ, value in head.recall.items()} == {"Colon": 2, "Stomach": 1}
    assert {organ: value.units for organ, value in head_without.recall.items()} == {"Colon": 3, "Stomach": 2}


def ends(values) -> list[tuple[float, float]]:
    """Ends of the intervals that are defined."""
    return [(value.low, value.high) for value in values.values() if not math.isnan(value.low)]


def test_the_decoding_is_not_searched_on_the_tiles_of_one_patient(evaluated) -> None:
    _, choice, *_ = evaluated(ONE_PATIENT)

    assert choice.status == "default"
    assert choice.reason.startswith("all validation tiles are of one patient, and parameters")
    assert f"{choice.method} is used" in choice.reason
    assert choice.parameters == asdict(METHODS[choice.method]())
    assert choice.classical == asdict(Classical())
    assert len(choice.tried) == 1, "the start of the one method of this test"
    assert [tile.patient for tile in choice.validation] == ONE_PATIENT[2]


def test_a_single_patient_gives_values_without_intervals_everywhere(evaluated) -> None:
    run, choice, family, routed, head = evaluated(ONE_PATIENT)
    check = check_targets.Arguments(
        settings=IntegrityGates(), fold=3, tiles=run.tiles(3)[0], check=run.evaluated("check.json")
    )
    check_targets.run(check)
    targets = read_document(check.check, TargetCheck)

    parts = [
        *(*family.systems.values(), *routed.systems.values(), *targets.upper_bound.values()),
        *(family.train, family.gaps, family.differences, routed.organ_head, head.values, head.recall),
        *(targets.upper_bound_aji_by_organ, {"tried": choice.tried[0].value, "classical": choice.classical_value}),
    ]
    values = [value for part in parts for value in part.values()]
    assert (family.n_patients, routed.n_patients, family.n_patients_trained_on) == (1, 1, 1)
    assert any(not math.isnan(value.value) for value in values)
    assert all(math.isnan(value.low) and math.isnan(value.high) for value in values)
