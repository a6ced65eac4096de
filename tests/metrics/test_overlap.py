import math
from collections.abc import Callable

import numpy as np
import pytest

from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.contingency import contingency
from cellvit.metrics.overlap import PanopticCounts, aji_of, aji_plus_of, as_rows, dice_of, panoptic_quality_of_sums

TWO = np.array([[1, 1, 2, 2], [1, 1, 2, 2]], np.int32)
BLOB = (TWO > 0).astype(np.int32)


@pytest.mark.parametrize("metric", [dice, aji, aji_plus, lambda *maps: panoptic_quality(*maps).pq])
def test_identical_maps_score_one_and_disjoint_maps_zero_whatever_their_ids(metric: Callable[..., float]) -> None:
    assert metric(TWO, TWO * 50 - (TWO == 2) * 93) == 1.0
    assert metric(np.array([[1, 0, 0]]), np.array([[0, 0, 1]])) == 0.0


def test_a_blob_over_two_nuclei_lowers_aji_and_pq_but_not_dice() -> None:
    assert dice(TWO, BLOB) == 1.0
    assert aji(TWO, BLOB) == 8 / 16  # the blob is paired twice: shared 4 + 4, union 8 + 8
    assert aji_plus(TWO, BLOB) == 4 / 12  # it is paired once: union 8, and 4 of the other
    assert panoptic_quality(TWO, BLOB) == PanopticCounts(0, 1, 2, 0.0)  # an IoU of exactly 0.5 is no match


def test_an_iou_just_above_a_half_matches() -> None:
    counts = panoptic_quality(np.array([[1, 1, 1, 0, 0]]), np.array([[1, 1, 0, 0, 2]]))

    assert counts == PanopticCounts(1, 1, 0, 2 / 3)
    assert (counts.dq, counts.sq) == (1 / 1.5, 2 / 3)
    assert counts.pq == pytest.approx(counts.dq * counts.sq, abs=1e-15)


def test_an_unpaired_predicted_nucleus_adds_its_area_to_the_union_of_aji() -> None:
    truth, prediction = np.array([[1, 1, 0, 0]]), np.array([[1, 1, 2, 2]])

    assert aji(truth, prediction) == aji_plus(truth, prediction) == 2 / 4


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


def test_metrics_of_a_table_equal_those_of_the_maps() -> None:
    table = contingency(TWO, BLOB)

    assert (dice_of(table), aji_of(table), aji_plus_of(table)) == (dice(TWO, BLOB), aji(TWO, BLOB), aji_plus(TWO, BLOB))
