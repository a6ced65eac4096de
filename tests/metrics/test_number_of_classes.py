"""Metrics of data sets with another number of classes than PanNuke's five, and another resolution."""

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.detection import UNPAIRED, class_scores, detection_counts, detection_scores
from cellvit.metrics.maps import MapSums, class_px, nt_accuracy_of_class
from cellvit.metrics.pannuke import tile_scores

INSTANCES = np.array([[1, 1, 0, 2, 2, 0, 3, 3]])


def test_one_class_has_one_panoptic_quality_which_is_that_of_all_nuclei():
    classes = (INSTANCES > 0).astype(np.uint8)

    scores = tile_scores(INSTANCES, classes, INSTANCES, classes, n_classes=1)

    assert scores.pq.tolist() == [1.0]
    assert scores.mpq == scores.bpq == 1.0


def test_each_of_seven_classes_has_its_own_quality_and_absent_ones_are_undefined():
    true = np.array([[7, 7, 0, 6, 6, 0, 1, 1]])
    predicted = np.array([[7, 7, 0, 1, 1, 0, 1, 1]])

    scores = tile_scores(INSTANCES, true, INSTANCES, predicted, n_classes=7)

    np.testing.assert_array_equal(scores.pq, [1 / 1.5, *[np.nan] * 4, 0, 1])
    assert [counts.n_true for counts in scores.counts] == [1, 0, 0, 0, 0, 1, 1]


def test_a_class_that_the_data_set_does_not_have_is_refused():
    with pytest.raises(ContractError, match=r"integers in 0\.\.2 .*found 0\.\.3"):
        tile_scores(INSTANCES, INSTANCES, INSTANCES, INSTANCES, n_classes=2)


@pytest.mark.parametrize("n_classes", [1, 3, 7])
def test_tables_of_pairs_have_a_row_for_each_class_and_those_without(n_classes):
    at, last = np.array([[0.0, 0.0], [0.0, 50.0]]), np.array([n_classes, n_classes])

    table = detection_counts(at, last, at[:1], last[:1], n_classes=n_classes)

    assert table.shape == (n_classes + 2, n_classes + 2)
    assert (table[n_classes, n_classes], table[n_classes, UNPAIRED]) == (1, 1)
    assert detection_scores(table).recall == 0.5
    assert class_scores(table, n_classes).recall == 0.5
    with pytest.raises(ContractError, match=f"in 1..{n_classes}, found {n_classes + 1}"):
        class_scores(table, n_classes + 1)


@pytest.mark.parametrize(("radius_px", "pairs"), [(12.0, 1), (6.0, 0)])
def test_the_radius_of_pairs_is_that_of_the_resolution(radius_px, pairs):
    true, predicted, one = np.array([[0.0, 0.0]]), np.array([[0.0, 10.0]]), np.array([1])

    table = detection_counts(true, one, predicted, one, n_classes=1, radius_px=radius_px)

    assert table[1, 1] == pairs


def test_sums_of_maps_count_the_pixels_of_each_class():
    instances, classes = INSTANCES[None], np.array([[[1, 1, 0, 2, 2, 0, 2, 2]]])
    zero = np.zeros((1, 2, *INSTANCES.shape))

    sums = MapSums.of((instances > 0) * 1.0, zero, classes, instances, classes, zero, n_classes=2)

    assert class_px(sums.rows).tolist() == [[0, 2, 4]]
    assert sums.value("nt_accuracy") == 1
    assert nt_accuracy_of_class(sums.rows[0], 2) == pytest.approx(4 / 6)
    assert sums.value("nt_accuracy_majority") == pytest.approx(4 / 6)
    assert MapSums.empty(2).rows.shape == (0, sums.rows.shape[1])
