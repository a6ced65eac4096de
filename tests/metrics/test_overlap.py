import math

import numpy as np
import pytest

from cellvit.metrics import aji_plus, panoptic_quality
from cellvit.metrics.overlap import PanopticCounts, as_rows, panoptic_quality_of_sums

TWO = np.array([[1, 1, 2, 2], [1, 1, 2, 2]], np.int32)
BLOB = (TWO > 0).astype(np.int32)


def test_an_iou_above_a_half_matches_and_one_of_exactly_a_half_does_not() -> None:
    assert panoptic_quality(TWO, BLOB) == PanopticCounts(0, 1, 2, 0.0)
    counts = panoptic_quality(np.array([[1, 1, 1, 0, 0]]), np.array([[1, 1, 0, 0, 2]]))

    assert counts == PanopticCounts(1, 1, 0, 2 / 3)
    assert (counts.dq, counts.sq) == (1 / 1.5, 2 / 3)
    assert counts.pq == pytest.approx(counts.dq * counts.sq, abs=1e-15)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        # IoU: true 1 with predicted 1: 3/6, with predicted 2: 2/5; true 2 with predicted 1: 2/5.
        # The greedy pair has 3/6, the two others together 4/5.
        pytest.param([2, 2, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 2, 2], 4 / 10, id="not_greedy"),
        # The true nucleus shares 3 pixels with predicted 1 (IoU 3/13) and 2 with predicted 2 (IoU 2/6).
        pytest.param([0] * 7 + [1] * 6, [1] * 10 + [0] + [2] * 2, 2 / 16, id="by_iou_not_by_shared_pixels"),
    ],
)
def test_aji_plus_is_that_of_the_assignment_of_greatest_total_iou(
    truth: list[int], prediction: list[int], expected: float
) -> None:
    assert aji_plus(np.array([truth]), np.array([prediction])) == expected


def test_rows_of_counts_add_up_and_give_the_same_quality_as_the_counts() -> None:
    left, right, none = panoptic_quality(TWO, BLOB), panoptic_quality(TWO, TWO), PanopticCounts(0, 0, 0, 0.0)
    shifted = TWO + (TWO > 0) * 2

    both = panoptic_quality(np.hstack([TWO, shifted]), np.hstack([BLOB, shifted]))

    np.testing.assert_array_equal(as_rows([left, right]).sum(axis=0), as_rows([both])[0])
    qualities = panoptic_quality_of_sums(as_rows([left, right, both, none]))
    np.testing.assert_array_equal(qualities, [left.pq, right.pq, both.pq, none.pq])
    assert math.isnan(none.pq)
    assert as_rows([]).shape == (0, 4)
