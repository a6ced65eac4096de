import subprocess
import sys

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.overlap import PanopticCounts, aji, aji_of, as_rows
from cellvit.metrics.pannuke import mean_over_organs, pooled_mpq_of_sums, tile_scores

TRUTH = np.array([[1, 1, 0, 2, 2, 0, 7, 7]], np.int32)
CLASSES = np.array([[1, 1, 0, 1, 1, 0, 3, 3]], np.uint8)
EMPTY = np.zeros_like(TRUTH)


def test_class_pqs_are_nan_for_classes_absent_from_the_truth_whatever_was_predicted() -> None:
    perfect, missed, false = (
        tile_scores(TRUTH, CLASSES, TRUTH, CLASSES),
        tile_scores(TRUTH, CLASSES, EMPTY, EMPTY),
        tile_scores(EMPTY, EMPTY, TRUTH, CLASSES),
    )

    np.testing.assert_array_equal(perfect.pq, [1, np.nan, 1, np.nan, np.nan])
    np.testing.assert_array_equal(missed.pq, [0, np.nan, 0, np.nan, np.nan])
    assert np.isnan(false.pq).all()
    assert false.binary == PanopticCounts(0, 3, 0, 0.0)


def test_a_wrong_class_lowers_class_metrics_but_not_bpq() -> None:
    mistaken = np.where(TRUTH == 2, 4, CLASSES)

    scores = tile_scores(TRUTH, CLASSES, TRUTH, mistaken)

    assert scores.bpq == 1.0
    np.testing.assert_allclose(scores.pq, [1 / 1.5, np.nan, 1, np.nan, np.nan])
    assert scores.mpq == pytest.approx((1 / 1.5 + 1) / 2)
    assert scores.mpq_strict == pytest.approx((1 / 1.5 + 1 + 0) / 3)  # class 4 is predicted, but absent from the truth
    assert scores.counts[3] == PanopticCounts(0, 1, 0, 0.0)


def test_class_of_a_nucleus_is_the_most_frequent_nuclear_class_the_smaller_in_a_tie() -> None:
    instances = np.array([[1, 1, 1, 1, 6, 6, 8, 0]])
    classes = np.array([[0, 0, 0, 4, 5, 2, 0, 3]], np.uint8)

    scores = tile_scores(instances, classes, instances * 5, classes)

    assert scores.true_class_of.tolist() == scores.predicted_class_of.tolist() == [4, 2, 0]


def test_centroids_are_rows_and_columns_in_the_order_of_labels() -> None:
    truth = np.zeros((5, 7), np.uint16)
    truth[1:4, 5:7], truth[4, 0] = 3, 2

    scores = tile_scores(truth, truth * 0, truth * 0, truth * 0)

    assert [at.tolist() for at in scores.centroids] == [[[4.0, 0.0], [2.0, 5.5]], []]


def test_class_counts_add_up_to_at_most_the_binary_ones_and_the_table_gives_other_metrics() -> None:
    prediction = np.roll(TRUTH, 1)

    scores = tile_scores(TRUTH, CLASSES, prediction, np.roll(CLASSES, 1))

    assert sum(counts.n_true for counts in scores.counts) == scores.binary.n_true
    assert sum(counts.true_positives for counts in scores.counts) <= scores.binary.true_positives
    assert aji_of(scores.table) == aji(TRUTH, prediction)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (np.where(TRUTH == 1, 6, 1), r"0\.\.5 .*found 0\.\.6"),
        (CLASSES.astype(float), r"found 0\.0\.\.3\.0 of float64"),
        (CLASSES[:, :4], r"\(1, 8\) and \(1, 4\)"),
    ],
)
def test_invalid_class_maps_are_refused(classes: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        tile_scores(TRUTH, classes, TRUTH, CLASSES)


def test_mean_over_organs_leaves_out_undefined_tiles_and_counts_every_organ_once() -> None:
    values = np.array([0.5, np.nan, 0.7, 0.1, np.nan])
    organs = np.array(["Colon", "Colon", "Colon", "Liver", "Skin"])

    assert mean_over_organs(values, organs) == pytest.approx((0.6 + 0.1) / 2)
    assert np.isnan(mean_over_organs(values[:0], organs[:0]))


def test_pooled_mpq_divides_once_after_summing_over_tiles() -> None:
    perfect = as_rows(tile_scores(TRUTH, CLASSES, TRUTH, CLASSES).counts)
    missed = as_rows(tile_scores(TRUTH, CLASSES, EMPTY, EMPTY).counts)

    pooled = pooled_mpq_of_sums(np.stack([perfect, perfect + missed]))

    np.testing.assert_allclose(pooled, [1, 1 / 1.5])  # half of the nuclei of each class; the mean over tiles is 0.5


def test_importing_the_metrics_loads_no_torch() -> None:
    code = "import sys; from cellvit.metrics import classification, intervals, maps, pannuke, detection; "

    done = subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=False)

    assert done.returncode == 0
