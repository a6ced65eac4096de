import math

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.detection import (
    RADIUS_PX,
    UNPAIRED,
    DetectionCounts,
    class_scores,
    detection_counts,
    detection_scores,
    pair_centroids,
)


def dots(*at: tuple[int, int]) -> np.ndarray:
    instances = np.zeros((40, 80), np.int32)
    for label, place in enumerate(at, start=1):
        instances[place] = label
    return instances


def test_a_partner_at_the_radius_counts_and_one_beyond_it_does_not() -> None:
    truth, one = dots((5, 5)), np.array([1])

    at_radius = detection_counts(truth, one, dots((5, 5 + int(RADIUS_PX))), one)
    beyond = detection_counts(truth, one, dots((5, 6 + int(RADIUS_PX))), one)

    assert at_radius.detection == (1.0, 1.0, 1.0)
    assert beyond.detection == (0.0, 0.0, 0.0)


def test_no_nucleus_is_paired_twice() -> None:
    counts = detection_counts(dots((5, 5)), np.array([1]), dots((5, 4), (5, 7)), np.array([1, 1]))

    assert counts.detection.precision == 0.5
    assert counts.detection.recall == 1.0


def test_pairs_minimise_the_total_distance() -> None:
    truth, found = np.array([[0.0, 0.0], [0.0, 10.0]]), np.array([[0.0, 9.0], [0.0, 19.0]])

    true_places, found_places = pair_centroids(truth, found)

    assert list(zip(true_places, found_places, strict=True)) == [(0, 0), (1, 1)]  # 9 + 9 px; the nearest pair has 1


def test_a_pair_of_wrong_class_is_a_detection_and_weighs_double_by_class() -> None:
    truth = dots((5, 5), (5, 25), (5, 45))
    found = dots((5, 5), (5, 25), (30, 70))

    counts = detection_counts(truth, np.array([1, 1, 1]), found, np.array([1, 2, 1]))

    assert counts.detection.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert counts.of_class(1).f1 == pytest.approx(2 * 1 / (2 * 1 + 2 * 1 + 1 + 1))
    assert counts.of_class(1).precision == pytest.approx(1 / (1 + 1))
    assert counts.of_class(1).recall == pytest.approx(1 / (1 + 2 + 1))
    assert counts.of_class(2) == (0.0, pytest.approx(math.nan, nan_ok=True), 0.0)
    assert all(math.isnan(score) for score in counts.of_class(5))


def test_nuclei_without_class_are_detections_of_no_class() -> None:
    counts = detection_counts(dots((5, 5)), np.array([3]), dots((5, 5)), np.array([0]))

    assert counts.detection.f1 == 1.0
    assert counts.of_class(3).recall == 0.0
    assert math.isnan(counts.of_class(3).precision)


def test_tiles_without_nuclei_are_undefined_and_add_nothing() -> None:
    none = np.array([], np.int64)
    empty = detection_counts(dots(), none, dots(), none)
    some = detection_counts(dots((5, 5)), np.array([2]), dots((5, 5)), np.array([2]))

    assert all(math.isnan(score) for score in empty.detection)
    assert (empty + some + DetectionCounts.zero()).table.tolist() == some.table.tolist()
    assert detection_counts(dots(), none, dots((5, 5)), np.array([2])).table[UNPAIRED, 2] == 1


def test_scores_of_many_tables_equal_those_of_each() -> None:
    tables = np.random.default_rng(0).integers(0, 9, (4, 7, 7))

    overall, third = detection_scores(tables), class_scores(tables, 3)

    for i, table in enumerate(tables):
        assert DetectionCounts(table).detection == tuple(scores[i] for scores in overall)
        assert DetectionCounts(table).of_class(3) == tuple(scores[i] for scores in third)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    precision, recall, f1 = class_scores(np.random.default_rng(1).integers(1, 9, (50, 7, 7)), 4)

    np.testing.assert_allclose(f1, 2 * precision * recall / (precision + recall))


def test_a_missing_class_is_refused_with_both_counts() -> None:
    with pytest.raises(ContractError, match=r"1 true and 2 found nuclei, found 2 and 2.*majority_classes"):
        detection_counts(dots((5, 5)), np.array([1, 1]), dots((5, 5), (9, 9)), np.array([1, 1]))


@pytest.mark.parametrize("nucleus_class", [0, 6])
def test_background_and_unknown_classes_have_no_scores(nucleus_class: int) -> None:
    with pytest.raises(ContractError, match=r"in 1\.\.5"):
        DetectionCounts.zero().of_class(nucleus_class)
