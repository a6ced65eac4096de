import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cellvit.errors import ContractError
from cellvit.metrics.intervals import (
    Scale,
    holm,
    interval_of_difference,
    interval_of_mean,
    interval_of_organ_mean,
    interval_of_sums,
    p_value,
)
from cellvit.metrics.pannuke import mean_over_organs
from cellvit.metrics.ratio import ratio

TILES = 2700
"""About a fold of PanNuke."""


def f1(sums: np.ndarray) -> np.ndarray:
    return ratio(2 * sums[:, 0], sums[:, 1])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 40))
def test_the_interval_of_a_mean_is_that_of_students_t_widened_by_the_number_of_tiles(seed: int, n: int) -> None:
    values = rng(seed).normal(0, 1, n)

    found = interval_of_mean(values, scale="real")

    # Leaving out tile i moves the mean by (mean - x_i) / (n - 1), so that the error is s / sqrt(n - 1), not s / sqrt(n).
    half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n - 1)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert (found.value, found.n, found.units) == (pytest.approx(values.mean()), n, n)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n_patients=st.integers(3, 12))
def test_the_interval_equals_one_that_leaves_out_patients_in_a_loop(seed: int, n_patients: int) -> None:
    patients = np.concatenate([np.arange(n_patients), rng(seed).integers(0, n_patients, 20)])
    true_positives = rng(seed).integers(1, 20, len(patients))
    rows = np.stack([true_positives, 2 * true_positives + rng(seed + 1).integers(1, 20, len(patients))], axis=1)

    found = interval_of_sums(f1, rows, groups=patients)

    def log_odds(kept: np.ndarray) -> float:
        share = 2 * rows[kept, 0].sum() / rows[kept, 1].sum()
        return share if kept.all() else share - value

    value = log_odds(np.ones(len(rows), bool))
    error = math.sqrt(sum(log_odds(patients != patient) ** 2 for patient in range(n_patients)))
    half = stats.t.ppf(0.975, n_patients - 1) * error / (value * (1 - value))
    centre = math.log(value / (1 - value))
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(
        [1 / (1 + math.exp(-end)) for end in (centre - half, centre + half)]
    )
    assert found.units == n_patients


@pytest.mark.parametrize(("n", "least"), [(4, 0.93), (8, 0.93), (20, 0.93)])
@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_intervals_of_few_patients_cover_the_mean_of_the_population(kind: str, n: int, least: float) -> None:
    draw = {"normal": lambda: rng_of.normal(0.5, 0.1, n), "skewed": lambda: rng_of.beta(9, 1, n)}[kind]
    mean, rng_of = {"normal": 0.5, "skewed": 0.9}[kind], rng(1)

    found = [interval_of_mean(draw()) for _ in range(1000)]

    covered = np.mean([one.low <= mean <= one.high for one in found])
    assert covered >= least - 0.015  # two standard errors of a share of 1000


@pytest.mark.parametrize(
    ("values", "value", "n", "units"),
    [
        ([], math.nan, 0, 0),
        ([math.nan], math.nan, 0, 0),
        ([0.5], 0.5, 1, 1),
        ([0.5, 0.7], 0.6, 2, 2),
        ([0.7, 0.7, 0.7, 0.7], 0.7, 4, 4),
        ([1.0, 1.0, 1.0, 1.0], 1.0, 4, 4),
    ],
    ids=["nothing", "undefined", "one", "two", "all_equal", "all_perfect"],
)
def test_fewer_than_three_units_or_equal_ones_give_no_interval(
    values: list[float], value: float, n: int, units: int
) -> None:
    found = interval_of_mean(np.array(values))

    assert found == pytest.approx((value, math.nan, math.nan, n, units), nan_ok=True)


def test_three_units_have_an_interval_also_if_one_of_them_equals_the_mean() -> None:
    found = interval_of_mean(np.array([0.4, 0.5, 0.6]))

    assert found.units == 3
    assert 0 < found.low < 0.5 < found.high < 1


def test_patients_without_a_class_do_not_count_as_units() -> None:
    rows = np.array([[3.0, 8.0], [2.0, 9.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])

    assert interval_of_sums(f1, rows).units == 2
    assert math.isnan(interval_of_sums(f1, rows).low)


def test_a_value_that_rests_on_one_patient_has_no_interval() -> None:
    def of_two_halves(sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 1])

    rows = np.array([[1.0, 9.0], [2.0, 0.0], [1.0, 0.0], [3.0, 0.0]])  # one patient has the whole denominator

    assert math.isnan(interval_of_sums(of_two_halves, rows, scale="real").low)


@pytest.mark.parametrize(
    ("scale", "values", "bounds"),
    [
        ("share", [0.9, 0.99, 1.0, 1.0], (0, 1)),
        ("share", [0.0, 0.01, 0.0, 0.3], (0, 1)),
        ("positive", [0.01, 5.0, 0.02, 0.1], (0, math.inf)),
        ("at_most_one", [0.9, 0.2, 0.99, 0.95], (-math.inf, 1)),
        ("correlation", [0.9, -0.5, 0.99, 0.95], (-1, 1)),
    ],
)
def test_no_end_is_a_value_that_the_metric_cannot_have(
    scale: Scale, values: list[float], bounds: tuple[float, float]
) -> None:
    found = interval_of_mean(np.array(values), scale=scale)

    assert bounds[0] < found.low < found.value < found.high < bounds[1]
    assert interval_of_mean(np.array(values), scale="real").low < found.value


def test_tiles_of_one_patient_are_left_out_together() -> None:
    patients = np.repeat(np.arange(20), 30)
    values = rng(2).random(20)[patients]  # all tiles of a patient are equal

    by_tile = interval_of_mean(values, scale="real")
    by_patient = interval_of_mean(values, scale="real", groups=patients)

    one_a_patient = interval_of_mean(values[::30], scale="real")
    assert by_patient.high - by_patient.low > 4 * (by_tile.high - by_tile.low)
    assert by_patient[:3] == pytest.approx(one_a_patient[:3])
    assert (by_patient.n, by_patient.units) == (600, 20)


@pytest.mark.parametrize("grouped", [False, True])
def test_undefined_tiles_change_neither_interval_nor_count(grouped: bool) -> None:
    values, patients = rng(2).random(30), np.repeat(np.arange(10), 3)
    with_gaps, their_patients = np.insert(values, [0, 15], np.nan), np.insert(patients, [0, 15], [0, 77])

    with_nan = interval_of_mean(with_gaps, groups=their_patients if grouped else None)

    assert with_nan == interval_of_mean(values, groups=patients if grouped else None)
    assert with_nan.n == 30


def test_all_organs_have_the_same_weight_in_the_mean_over_organs() -> None:
    organs = np.array(["Breast"] * 90 + ["Uterus"] * 10 + ["Skin"])
    values = np.concatenate([rng(4).normal(0.8, 0.05, 90), rng(5).normal(0.4, 0.05, 10), [np.nan]])

    interval = interval_of_organ_mean(values, organs)

    assert interval.value == pytest.approx(mean_over_organs(values, organs))
    assert interval.value == pytest.approx(0.6, abs=0.03)
    assert 0.54 < interval.low < interval.value < interval.high < 0.66
    assert interval.n == 100


def test_the_interval_of_a_fold_stays_within_megabytes() -> None:
    values, organs = rng().random(TILES), rng().integers(0, 19, TILES)

    tracemalloc.start()
    interval_of_organ_mean(values, organs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16 * 2**20


def test_rows_that_are_not_finite_and_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ContractError, match=r"rows \[1\] of 2.*interval_of_mean"):
        interval_of_sums(f1, np.array([[1.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(ContractError, match="each of 3 tiles, found 2"):
        interval_of_mean(np.ones(3), groups=np.zeros(2))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 40))
def test_the_p_value_of_a_difference_is_that_of_students_test_with_the_wider_error(seed: int, n: int) -> None:
    values = rng(seed).normal(0.1, 1, n)
    found = interval_of_mean(values, scale="real")

    p = p_value(found.value, found.low, found.high, found.units)

    statistic = stats.ttest_1samp(values, 0).statistic * math.sqrt((n - 1) / n)
    assert p == pytest.approx(2 * stats.t.sf(abs(statistic), n - 1))
    assert (p < 0.05) == (found.low > 0 or found.high < 0)


def test_holm_multiplies_the_smallest_by_all_and_never_decreases() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.6]) == (1.0, 1.0)
    assert holm([]) == ()
    undefined, defined = holm([math.nan, 0.01])
    assert math.isnan(undefined)
    assert defined == pytest.approx(0.02)  # a comparison without interval counts as one


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 20), m=st.integers(3, 20))
def test_the_interval_of_a_difference_is_that_of_welch_on_the_errors_of_both_means(seed: int, n: int, m: int) -> None:
    first, second = rng(seed).normal(0, 1, n), rng(seed + 1).normal(0, 3, m)

    found = interval_of_difference(*(interval_of_mean(x, scale="real") for x in (first, second)), scale="real")

    # scipy's standard errors are s / sqrt(n); ours are s / sqrt(n - 1), which tiles scaled by sqrt(n / (n - 1)) have.
    widened = [x.mean() + (x - x.mean()) * math.sqrt(len(x) / (len(x) - 1)) for x in (first, second)]
    welch = stats.ttest_ind(*widened, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high))
    assert (found.value, found.n, found.units) == (pytest.approx(first.mean() - second.mean()), n + m, min(n, m))


@pytest.mark.parametrize("scale", ["share", "positive"])
def test_the_difference_of_a_value_on_a_bounded_scale_has_the_same_errors(scale: Scale) -> None:
    first, second = rng(0).uniform(0.5, 0.9, 8), rng(1).uniform(0.1, 0.9, 5)

    found, plain = (
        interval_of_difference(*(interval_of_mean(x, scale=of) for x in (first, second)), scale=of)
        for of in (scale, "real")
    )

    assert tuple(found) == pytest.approx(tuple(plain))


def test_a_difference_from_a_value_without_interval_has_none() -> None:
    found = interval_of_difference(interval_of_mean(np.array([0.5, 0.6, 0.7])), interval_of_mean(np.array([0.1, 0.3])))

    assert (found.value, found.n, found.units) == (pytest.approx(0.4), 5, 2)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
