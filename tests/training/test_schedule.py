from itertools import pairwise

import pytest

from cellvit.training.schedule import rate_at


def rates(steps: int, warmup: float) -> list[float]:
    return [rate_at(step, peak=2.0, steps=steps, warmup=warmup) for step in range(steps)]


def test_the_rate_rises_in_a_line_to_its_peak_and_falls_after():
    found = rates(100, 0.1)

    assert found[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert all(late <= early for early, late in pairwise(found[9:]))
    assert found[-1] < 0.01


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.99])
def test_every_step_of_a_short_training_has_a_rate_over_zero(steps, warmup):
    assert all(0 < rate <= 2.0 for rate in rates(steps, warmup))


def test_without_warm_up_training_starts_at_the_peak():
    assert rates(10, 0.0)[0] == 2.0
