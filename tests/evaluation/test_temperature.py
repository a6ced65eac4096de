"""The temperature of class probabilities: fitted, refused where it cannot be fitted, and checked on other patients."""

import numpy as np
import pytest
from simulated_nuclei import simulated

from cellvit.evaluation.calibration import Nuclei, reliability_of
from cellvit.evaluation.temperature import MIN_NUCLEI, checked_temperature, fit_temperature


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.8, 3.0])
def test_the_temperature_with_which_the_probabilities_are_right_is_found(temperature):
    found, note = fit_temperature(simulated(20_000, temperature))

    assert found == pytest.approx(temperature, rel=0.05)
    assert note == ""


def test_the_temperature_lowers_the_calibration_error_of_other_nuclei():
    temperature, _ = fit_temperature(simulated(5_000, 2.5, seed=1))
    others = simulated(5_000, 2.5, seed=2)

    before, after = reliability_of(others, 1.0), reliability_of(others, temperature)

    assert before.error > 0.1
    assert after.error < 0.03


@pytest.mark.parametrize(
    ("nuclei", "reason"),
    [
        pytest.param(simulated(500, 2.0, n_classes=1), "there is one class", id="one_class"),
        pytest.param(simulated(MIN_NUCLEI - 1, 2.0), "fewer than 50", id="few_nuclei"),
        pytest.param(
            Nuclei(np.tile(np.float32([0.6, 0.4]), (900, 1)), np.ones(900, np.int64), np.ones(900, np.int64)),
            "0 of 900 validation nuclei have a wrong class, fewer than 10",
            id="all_classes_right",
        ),
        pytest.param(Nuclei.concatenated([], 4), "0 validation nuclei are matched", id="no_nuclei"),
    ],
)
def test_the_temperature_stays_one_where_it_cannot_be_fitted_and_the_reason_is_said(nuclei, reason):
    temperature, note = checked_temperature([nuclei])

    assert temperature == 1.0
    assert reason in note


def test_a_temperature_at_the_limit_of_the_search_is_said():
    wrong = Nuclei(np.tile(np.float32([0.6, 0.4]), (100, 1)), np.ones(100, np.int64), np.full(100, 2))

    temperature, note = fit_temperature(wrong)

    assert temperature == pytest.approx(10, rel=0.02)
    assert "limit of the search" in note


def test_probabilities_of_zero_for_the_true_class_leave_the_fit_finite():
    nuclei = simulated(1_000, 1.0)
    nuclei.probability[:20] = np.float32([1, 0, 0, 0])
    nuclei.true_class[:20] = 2

    temperature, _ = fit_temperature(nuclei)

    assert 1 < temperature < 10


def test_a_temperature_that_helps_patients_it_was_not_fitted_on_is_kept():
    patients = [simulated(400, 2.5, seed=seed) for seed in range(8)]

    temperature, note = checked_temperature(patients)

    assert temperature == pytest.approx(2.5, rel=0.1)
    assert note == ""


def test_a_temperature_that_holds_for_some_patients_only_is_not_used():
    certain, doubtful = simulated(3_000, 0.4, seed=1), simulated(3_000, 4.0, seed=2)

    temperature, note = checked_temperature([certain, doubtful])

    assert temperature == 1.0
    assert "does not help patients that it was not fitted on" in note


def test_a_temperature_from_one_patient_cannot_be_checked_and_is_not_used():
    temperature, note = checked_temperature([simulated(3_000, 2.5), Nuclei.concatenated([], 4)])

    assert temperature == 1.0
    assert "of one patient" in note
