import math

import numpy as np

from cellvit.metrics.ratio import mean_defined, ratio


def test_a_quotient_by_zero_is_undefined_without_a_warning() -> None:
    np.testing.assert_array_equal(ratio(np.array([3, 0, 1]), np.array([4, 0, 0])), [0.75, np.nan, np.nan])
    assert float(ratio(1, 4)) == 0.25


def test_the_mean_of_nothing_defined_is_undefined() -> None:
    assert math.isnan(mean_defined(np.array([])))
    assert mean_defined(np.array([np.nan, 2.0])) == 2.0
