import math
import tracemalloc

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.intervals import bootstrap, bootstrap_mean, bootstrap_organ_mean
from cellvit.metrics.pannuke import mean_over_organs
from cellvit.metrics.ratio import ratio

TILES = 2700
"""About a fold of PanNuke."""


def f1(sums: np.ndarray) -> np.ndarray:
    return ratio(2 * sums[:, 0], sums[:, 1])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_interval_of_a_mean_has_the_width_of_theory() -> None:
    values = rng(1).normal(0.5, 0.2, TILES)

    interval = bootstrap_mean(values, rng=rng())

    half_width = 1.96 * values.std() / math.sqrt(TILES)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half_width, abs=half_width / 8)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=half_width / 8)


@pytest.mark.parametrize(
    ("values", "value", "n"), [([], math.nan, 0), ([math.nan], math.nan, 0), ([0.5], 0.5, 1), ([0.5, 1.0, 0.0], 0.5, 3)]
)
def test_fewer_than_two_patients_give_no_interval(values: list[float], value: float, n: int) -> None:
    interval = bootstrap_mean(np.array(values), rng=rng(), groups=np.zeros(len(values), int))

    assert interval == pytest.approx((value, math.nan, math.nan, n), nan_ok=True)


def test_tiles_of_one_patient_are_sampled_together() -> None:
    patients = np.repeat(np.arange(20), 30)
    values = rng(2).random(20)[patients]  # all tiles of a patient are equal

    by_tile = bootstrap_mean(values, rng=rng())
    by_patient = bootstrap_mean(values, rng=rng(), groups=patients)

    assert by_patient.value == pytest.approx(by_tile.value)
    assert by_patient.high - by_patient.low == pytest.approx(math.sqrt(30) * (by_tile.high - by_tile.low), rel=0.2)


@pytest.mark.parametrize("grouped", [False, True])
def test_undefined_tiles_change_neither_interval_nor_count(grouped: bool) -> None:
    values, patients = rng(2).random(30), np.repeat(np.arange(10), 3)
    with_gaps, their_patients = np.insert(values, [0, 15], np.nan), np.insert(patients, [0, 15], [0, 77])

    with_nan = bootstrap_mean(with_gaps, rng=rng(), groups=their_patients if grouped else None)

    assert with_nan == bootstrap_mean(values, rng=rng(), groups=patients if grouped else None)
    assert with_nan.n == 30


def test_the_same_seed_gives_the_same_interval_and_another_seed_a_similar_one() -> None:
    values = rng(3).random(400)

    one, same, other = (bootstrap_mean(values, rng=rng(seed)) for seed in (7, 7, 8))

    assert one == same
    assert other.low != one.low
    assert other.low == pytest.approx(one.low, abs=5e-3)


def test_a_quotient_of_sums_is_divided_after_resampling() -> None:
    rows = np.array([[1.0, 2.0], [30.0, 100.0], [0.0, 0.0]])

    interval = bootstrap(f1, rows, rng=rng())

    assert interval.value == pytest.approx(2 * 31 / 102)
    assert interval.low == pytest.approx(0.6)
    assert interval.high == pytest.approx(1.0)
    assert interval.n == 3


def test_all_organs_have_the_same_weight_in_the_mean_over_organs() -> None:
    organs = np.array(["Breast"] * 90 + ["Uterus"] * 10 + ["Skin"])
    values = np.concatenate([rng(4).normal(0.8, 0.05, 90), rng(5).normal(0.4, 0.05, 10), [np.nan]])

    interval = bootstrap_organ_mean(values, organs, rng=rng())

    assert interval.value == pytest.approx(mean_over_organs(values, organs))
    assert interval.value == pytest.approx(0.6, abs=0.03)
    assert 0.54 < interval.low < interval.value < interval.high < 0.66
    assert interval.n == 100


def test_a_thousand_resamples_of_a_fold_stay_within_megabytes() -> None:
    values, organs = rng().random(TILES), rng().integers(0, 19, TILES)

    tracemalloc.start()
    bootstrap_organ_mean(values, organs, rng=rng())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16 * 2**20


def test_rows_that_are_not_finite_and_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ContractError, match=r"rows \[1\] of 2.*bootstrap_mean"):
        bootstrap(f1, np.array([[1.0, 1.0], [np.nan, 1.0]]), rng=rng())
    with pytest.raises(ContractError, match="each of 3 tiles, found 2"):
        bootstrap_mean(np.ones(3), rng=rng(), groups=np.zeros(2))
