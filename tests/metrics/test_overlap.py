import math

import numpy as np
import pytest

from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.contingency import contingency
from cellvit.metrics.overlap import (
    PanopticCounts,
    aji_of,
    aji_plus_of,
    as_rows,
    dice_of,
    panoptic_of,
    panoptic_quality_of_sums,
)

FIGURES = [dice, aji, aji_plus, lambda truth, found: panoptic_quality(truth, found).pq]
EMPTY = np.zeros((2, 4), np.int32)
TWO = np.array([[1, 1, 2, 2], [1, 1, 2, 2]], np.int32)
BLOB = (TWO > 0).astype(np.int32)


@pytest.mark.parametrize("figure", FIGURES)
def test_identical_maps_score_one_whatever_their_ids(figure) -> None:
    assert figure(TWO, TWO * 50 - (TWO == 2) * 93) == 1.0


@pytest.mark.parametrize("figure", FIGURES)
def test_nothing_on_either_side_is_undefined(figure) -> None:
    assert math.isnan(figure(EMPTY, EMPTY))


@pytest.mark.parametrize("figure", FIGURES)
def test_nuclei_on_one_side_alone_score_zero(figure) -> None:
    assert figure(TWO, EMPTY) == figure(EMPTY, TWO) == 0.0


@pytest.mark.parametrize("figure", FIGURES)
def test_nuclei_that_never_meet_score_zero(figure) -> None:
    assert figure(np.array([[1, 0, 0]]), np.array([[0, 0, 1]])) == 0.0


def test_a_blob_over_two_nuclei_is_told_apart_by_aji_and_pq_but_not_by_dice() -> None:
    assert dice(TWO, BLOB) == 1.0
    assert aji(TWO, BLOB) == 8 / 16  # the blob serves both: shared 4 + 4, union 8 + 8
    assert aji_plus(TWO, BLOB) == 4 / 12  # it serves one: union 8, and 4 of the other
    assert panoptic_quality(TWO, BLOB) == PanopticCounts(0, 1, 2, 0.0)  # an IoU of exactly 0.5 is no match


def test_an_iou_just_over_a_half_matches() -> None:
    truth, found = np.array([[1, 1, 1, 0, 0]]), np.array([[1, 1, 0, 0, 2]])

    counts = panoptic_quality(truth, found)

    assert counts == PanopticCounts(1, 1, 0, 2 / 3)
    assert (counts.dq, counts.sq) == (1 / 1.5, 2 / 3)
    assert counts.pq == pytest.approx(counts.dq * counts.sq, abs=1e-15)


def test_a_found_nucleus_that_serves_none_adds_its_area_to_the_union_of_aji() -> None:
    truth, found = np.array([[1, 1, 0, 0]]), np.array([[1, 1, 2, 2]])

    assert aji(truth, found) == aji_plus(truth, found) == 2 / 4


def test_aji_plus_takes_the_assignment_of_greatest_total_iou_not_the_greedy_one() -> None:
    # IoU: true 1 with found 1: 3/6, with found 2: 2/5; true 2 with found 1: 2/5. Greedy 3/6; both others together 4/5.
    truth, found = np.array([[2, 2, 1, 1, 1, 1, 1]]), np.array([[1, 1, 1, 1, 1, 2, 2]])

    assert aji_plus(truth, found) == 4 / 10


def test_aji_plus_pairs_by_iou_not_by_shared_pixels() -> None:
    truth = np.array([[0] * 7 + [1] * 6])
    found = np.array([[1] * 10 + [0] + [2] * 2])  # shares 3 (IoU 3/13) and 2 (IoU 2/6)

    assert aji_plus(truth, found) == 2 / 16


def test_segmentation_quality_without_a_match_is_undefined_and_panoptic_quality_zero() -> None:
    counts = PanopticCounts(0, 1, 1, 0.0)

    assert math.isnan(counts.sq)
    assert (counts.dq, counts.pq) == (0.0, 0.0)


def test_counts_of_tiles_add_up_to_the_counts_of_both_side_by_side() -> None:
    left, right = panoptic_quality(TWO, BLOB), panoptic_quality(TWO, TWO)

    both = panoptic_quality(np.hstack([TWO, TWO + (TWO > 0) * 2]), np.hstack([BLOB, TWO + (TWO > 0) * 2]))

    assert sum([left, right], PanopticCounts()) == both


def test_rows_of_counts_give_the_same_quality_as_the_counts() -> None:
    counts = [PanopticCounts(3, 1, 2, 2.1), PanopticCounts()]

    qualities = panoptic_quality_of_sums(as_rows(counts))

    np.testing.assert_array_equal(qualities, [c.pq for c in counts])
    assert as_rows([]).shape == (0, 4)


def test_table_forms_equal_the_map_forms() -> None:
    table = contingency(TWO, BLOB)

    assert (dice_of(table), aji_of(table), aji_plus_of(table)) == (dice(TWO, BLOB), aji(TWO, BLOB), aji_plus(TWO, BLOB))
    assert panoptic_of(table) == panoptic_quality(TWO, BLOB)
