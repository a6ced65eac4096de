"""Tiles on which other programs crash or score a silent 0 (docs/metrics.md lists them): every metric, written out."""

import numpy as np
import pytest

from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.detection import UNPAIRED, class_scores, detection_counts, detection_scores
from cellvit.metrics.overlap import as_rows
from cellvit.metrics.pannuke import mean_over_organs, pooled_mpq_of_sums, tile_scores

NAN = float("nan")
EMPTY = np.zeros((1, 7), np.uint16)
ONE = np.array([[0, 1, 1, 0, 0, 0, 0]], np.uint16)
TWO = np.array([[1, 1, 0, 2, 2, 0, 0]], np.uint16)
FULL = np.ones((1, 7), np.uint16)
GAPS = np.array([[2, 2, 0, 3, 3, 0, 9]], np.uint16)
BESIDE = np.array([[0, 0, 5, 5, 5, 0, 0]], np.uint16)
TILED = np.array([[3, 3, 3, 8, 8, 8, 8]], np.uint16)
LARGE = np.zeros((2, 600), np.uint16)
LARGE[:, ::2] = np.arange(65_535, 65_235, -1)

NAMES = (
    *("dice", "aji", "aji_plus", "dq", "sq", "pq"),
    *("bpq", "pq_1", "mpq", "mpq_strict"),
    *("precision", "recall", "f1", "f1_1"),
)
UNDEFINED = dict.fromkeys(NAMES, NAN)
PERFECT = dict.fromkeys(NAMES, 1)
ZERO = dict.fromkeys(NAMES, 0) | {"sq": NAN}
FALSE_NUCLEI = ZERO | {"bpq": NAN, "pq_1": NAN, "mpq": NAN, "recall": NAN}
NO_PAIR = ZERO | {"precision": 1, "recall": 1, "f1": 1, "f1_1": 1}
BLOB = NO_PAIR | {"dice": 8 / 11, "aji": 4 / 14, "aji_plus": 2 / 9, "recall": 0.5, "f1": 2 / 3, "f1_1": 2 / 3}
ONE_FALSE = {**dict.fromkeys(NAMES, 0.8), "dice": 8 / 9, "sq": 1, "precision": 2 / 3, "recall": 1}


def metrics(
    truth: np.ndarray, prediction: np.ndarray, truth_classes: np.ndarray, predicted_classes: np.ndarray
) -> dict[str, float]:
    """Every metric of a tile; `pq_1` and `f1_1` are those of class 1."""
    panoptic = panoptic_quality(truth, prediction)
    scores = tile_scores(truth, truth_classes.astype(np.uint8), prediction, predicted_classes.astype(np.uint8))
    true_at, predicted_at = scores.centroids
    table = detection_counts(true_at, scores.true_class_of, predicted_at, scores.predicted_class_of)
    values = (
        *(dice(truth, prediction), aji(truth, prediction), aji_plus(truth, prediction)),
        *(panoptic.dq, panoptic.sq, panoptic.pq),
        *(scores.bpq, scores.pq[0], scores.mpq, scores.mpq_strict),
        *(*detection_scores(table), class_scores(table, 1).f1),
    )
    return dict(zip(NAMES, map(float, values), strict=True))


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        pytest.param(TWO, GAPS, ONE_FALSE, id="ids_with_gaps_and_a_false_nucleus"),
        pytest.param(LARGE, LARGE.astype(np.int32), PERFECT, id="ids_up_to_the_last_of_16_bits"),
        pytest.param(EMPTY, ONE, FALSE_NUCLEI, id="empty_truth_is_0_where_false_nuclei_count"),
        pytest.param(ONE, EMPTY, ZERO | {"precision": NAN}, id="empty_prediction_is_0"),
        pytest.param(FULL, EMPTY, ZERO | {"precision": NAN}, id="missed_nucleus_that_covers_the_tile"),
        pytest.param(EMPTY, EMPTY, UNDEFINED, id="empty_tile_is_undefined_not_0_or_1"),
        pytest.param(ONE, BESIDE, NO_PAIR | {"dice": 0.4, "aji": 0.25, "aji_plus": 0.25}, id="no_match_has_no_sq"),
        pytest.param(FULL, FULL, PERFECT, id="nucleus_that_covers_the_tile_is_not_background"),
        pytest.param(TILED, TILED, PERFECT, id="tile_without_background"),
        pytest.param(TWO, FULL, BLOB, id="blob_over_the_whole_tile"),
    ],
)
def test_metrics_of_nuclei_of_one_class(truth: np.ndarray, prediction: np.ndarray, expected: dict[str, float]) -> None:
    values = metrics(truth, prediction, truth > 0, prediction > 0)

    assert values == pytest.approx(expected, rel=0, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize(
    ("true_class_of", "predicted_class_of", "expected"),
    [
        pytest.param([2, 2], [2, 1], {"pq_1": NAN, "mpq": 2 / 3, "mpq_strict": 1 / 3, "f1_1": 0}, id="not_in_truth"),
        pytest.param([2, 1], [2, 2], {"pq_1": 0, "mpq": 1 / 3, "mpq_strict": 1 / 3, "f1_1": 0}, id="not_predicted"),
        pytest.param([4, 4], [4, 4], {"pq_1": NAN, "f1_1": NAN}, id="on_neither_side"),
        pytest.param([0, 0], [0, 0], {"pq_1": NAN, "mpq": NAN, "mpq_strict": NAN, "f1_1": NAN}, id="no_class"),
    ],
)
def test_metrics_of_identical_nuclei_if_class_1_is_missing(
    true_class_of: list[int], predicted_class_of: list[int], expected: dict[str, float]
) -> None:
    values = metrics(TWO, TWO, np.choose(TWO, [0, *true_class_of]), np.choose(TWO, [0, *predicted_class_of]))

    assert values == pytest.approx(PERFECT | expected, rel=0, abs=1e-15, nan_ok=True)


def test_empty_tile_adds_nothing_to_the_detections_of_others() -> None:
    none, at = (np.zeros((0, 2)), np.array([], np.int64)), np.array([[0.0, 0.5], [0.0, 3.5]])

    one = detection_counts(at, np.array([1, 1]), at[:1], np.array([1]))
    missed = detection_counts(at, np.array([1, 2]), *none)

    assert not detection_counts(*none, *none).any()
    assert (one.sum(), one[1, 1], one[1, UNPAIRED]) == (2, 1, 1)
    assert missed[:, UNPAIRED].tolist() == [0, 1, 1, 0, 0, 0, 0]


def test_undefined_tiles_are_left_out_of_the_mean_over_organs_but_count_in_pooled_mpq() -> None:
    tiles = [tile_scores(truth, truth, prediction, prediction) for truth, prediction in ((ONE, ONE), (EMPTY, ONE))]
    bpq, counts = np.array([tile.bpq for tile in tiles]), np.stack([as_rows(tile.counts) for tile in tiles])

    assert mean_over_organs(bpq, np.array(["Colon", "Colon"])) == 1
    assert mean_over_organs(bpq, np.array(["Colon", "Liver"])) == 1
    assert np.isnan(mean_over_organs(bpq[1:], np.array(["Liver"])))
    assert pooled_mpq_of_sums(counts.sum(axis=0)) == 1 / 1.5
    assert pooled_mpq_of_sums(counts[1]) == 0
    assert np.isnan(pooled_mpq_of_sums(counts[:0].sum(axis=0)))
