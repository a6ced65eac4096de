"""Split conformal bounds of counts: the coverage that they state is the coverage that they have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvit.metrics.conformal import bound_rank, count_scores, covered, expected_covered, share_bound


def simulated_scores(rng: np.random.Generator, repeats: int, n: int) -> np.ndarray:
    """Scores of exchangeable units: counts of very different sizes, with errors that grow with them."""
    size = rng.lognormal(4, 1.5, (repeats, n))
    true, predicted = rng.poisson(size), rng.poisson(size * rng.lognormal(0.1, 0.4, (repeats, n)))
    return count_scores(true, predicted)


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("n_units", [9, 20, 59])
def test_a_new_exchangeable_unit_is_covered_as_often_as_stated(level, n_units):
    scores = simulated_scores(np.random.default_rng(n_units), 20_000, n_units + 1)

    bounds = np.array([share_bound(row, level) for row in scores[:, :-1]])
    found = covered(scores[:, -1], bounds).mean()

    # At least the level, and at most 1 / (n + 1) more; three standard deviations of 20,000 repeats are 0.009.
    assert level - 0.009 < found < level + 1 / (n_units + 1) + 0.009


def test_the_number_of_covered_test_units_is_expected_95_times_in_100():
    scores = simulated_scores(np.random.default_rng(1), 4_000, 30 + 25)

    bounds = np.array([share_bound(row, 0.9) for row in scores[:, :30]])
    n_covered = (scores[:, 30:] <= bounds[:, None]).sum(axis=1)
    low, high = expected_covered(30, 25, 0.9)

    assert np.mean((low <= n_covered) & (n_covered <= high)) > 0.94


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0.05, 0.95))
def test_the_bound_is_a_score_that_at_least_the_level_of_the_units_do_not_exceed(scores, level):
    bound = share_bound(np.array(scores), level)

    if bound_rank(len(scores), level) > len(scores):
        assert np.isnan(bound)
    else:
        assert bound in scores
        assert covered(np.array(scores), bound).mean() >= level - 1e-9


@pytest.mark.parametrize(("n_units", "enough"), [(0, False), (8, False), (9, True)])
def test_nine_units_are_needed_for_ninety_percent(n_units, enough):
    assert np.isfinite(share_bound(np.ones(n_units), 0.9)) == enough


def test_the_rank_is_exact_where_the_product_is_a_whole_number():
    assert [bound_rank(n, 0.9) for n in (9, 19, 29, 39)] == [9, 18, 27, 36]


def test_a_count_of_zero_has_a_finite_error():
    assert count_scores(np.array([0, 5, 3]), np.array([0, 0, 4])).tolist() == [0, 5, 0.2]


def test_nothing_is_covered_without_a_bound():
    assert not covered(np.array([0.0, 1.0]), float("nan")).any()


def test_too_few_units_have_no_expected_coverage():
    with pytest.raises(ValueError, match="8 units are too few"):
        expected_covered(8, 20, 0.9)
