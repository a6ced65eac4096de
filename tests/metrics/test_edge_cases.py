"""Tiles on which other programs crash or score a silent 0 (docs/metrics.md says which): every figure, written out."""

import numpy as np
import pytest

from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.detection import DetectionCounts, detection_counts
from cellvit.metrics.pannuke import mean_over_organs, pooled_mpq, tile_scores

NAN = float("nan")
EMPTY = np.zeros((1, 7), np.uint16)
ONE = np.array([[0, 1, 1, 0, 0, 0, 0]], np.uint16)
TWO = np.array([[1, 1, 0, 2, 2, 0, 0]], np.uint16)
FULL = np.ones((1, 7), np.uint16)

ALL_RIGHT = {
    "dice": 1, "aji": 1, "aji_plus": 1, "dq": 1, "sq": 1, "pq": 1, "bpq": 1, "pq_1": 1, "mpq": 1, "mpq_strict": 1,
    "precision": 1, "recall": 1, "f1": 1, "f1_1": 1,
}  # fmt: skip


def figures(
    truth: np.ndarray,
    found: np.ndarray,
    truth_classes: np.ndarray | None = None,
    found_classes: np.ndarray | None = None,
) -> dict[str, float]:
    """Every figure of a tile, by class those of class 1; where no classes are given, all nuclei are of class 1."""
    classes = [
        truth > 0 if truth_classes is None else truth_classes,
        found > 0 if found_classes is None else found_classes,
    ]
    panoptic = panoptic_quality(truth, found)
    scores = tile_scores(truth, classes[0].astype(np.uint8), found, classes[1].astype(np.uint8))
    detections = detection_counts(truth, scores.true_class_of, found, scores.found_class_of)
    return {
        "dice": dice(truth, found),
        "aji": aji(truth, found),
        "aji_plus": aji_plus(truth, found),
        "dq": panoptic.dq,
        "sq": panoptic.sq,
        "pq": panoptic.pq,
        "bpq": scores.bpq,
        "pq_1": float(scores.pq[0]),
        "mpq": scores.mpq,
        "mpq_strict": scores.mpq_strict,
        **detections.detection._asdict(),
        "f1_1": detections.of_class(1).f1,
    }


def exactly(expected: dict[str, float]) -> object:
    return pytest.approx(expected, rel=0, abs=1e-15, nan_ok=True)


def test_ids_with_gaps_score_as_ids_without() -> None:
    found = np.array([[2, 2, 0, 3, 3, 0, 9]], np.uint16)

    assert figures(TWO, found) == exactly({
        "dice": 8 / 9, "aji": 4 / 5, "aji_plus": 4 / 5, "dq": 0.8, "sq": 1, "pq": 0.8, "bpq": 0.8, "pq_1": 0.8,
        "mpq": 0.8, "mpq_strict": 0.8, "precision": 2 / 3, "recall": 1, "f1": 0.8, "f1_1": 0.8,
    })  # fmt: skip


def test_ids_up_to_the_last_of_16_bits_score_as_small_ones() -> None:
    many = np.zeros((2, 600), np.uint16)
    many[:, ::2] = np.arange(65_535, 65_235, -1)

    assert figures(many, many.astype(np.int32)) == exactly(ALL_RIGHT)


def test_empty_truth_scores_0_where_false_nuclei_count_and_is_undefined_where_they_do_not() -> None:
    assert figures(EMPTY, ONE) == exactly({
        "dice": 0, "aji": 0, "aji_plus": 0, "dq": 0, "sq": NAN, "pq": 0, "bpq": NAN, "pq_1": NAN, "mpq": NAN,
        "mpq_strict": 0, "precision": 0, "recall": NAN, "f1": 0, "f1_1": 0,
    })  # fmt: skip


def test_empty_prediction_scores_0() -> None:
    assert figures(ONE, EMPTY) == exactly({
        "dice": 0, "aji": 0, "aji_plus": 0, "dq": 0, "sq": NAN, "pq": 0, "bpq": 0, "pq_1": 0, "mpq": 0,
        "mpq_strict": 0, "precision": NAN, "recall": 0, "f1": 0, "f1_1": 0,
    })  # fmt: skip


def test_empty_tile_that_is_found_empty_is_undefined_not_0_or_1() -> None:
    assert figures(EMPTY, EMPTY) == exactly(dict.fromkeys(ALL_RIGHT, NAN))


def test_nuclei_that_do_not_match_have_no_segmentation_quality() -> None:
    found = np.array([[0, 0, 5, 5, 5, 0, 0]], np.uint16)

    assert figures(ONE, found) == exactly({
        "dice": 0.4, "aji": 0.25, "aji_plus": 0.25, "dq": 0, "sq": NAN, "pq": 0, "bpq": 0, "pq_1": 0, "mpq": 0,
        "mpq_strict": 0, "precision": 1, "recall": 1, "f1": 1, "f1_1": 1,
    })  # fmt: skip


def test_nucleus_that_covers_the_tile_is_a_nucleus_not_the_background() -> None:
    assert figures(FULL, FULL) == exactly(ALL_RIGHT)


def test_tile_without_background_keeps_the_nucleus_of_the_smallest_id() -> None:
    tiled = np.array([[3, 3, 3, 8, 8, 8, 8]], np.uint16)

    assert figures(tiled, tiled) == exactly(ALL_RIGHT)


def test_blob_over_the_whole_tile_is_found_once() -> None:
    assert figures(TWO, FULL) == exactly({
        "dice": 8 / 11, "aji": 4 / 14, "aji_plus": 2 / 9, "dq": 0, "sq": NAN, "pq": 0, "bpq": 0, "pq_1": 0, "mpq": 0,
        "mpq_strict": 0, "precision": 1, "recall": 0.5, "f1": 2 / 3, "f1_1": 2 / 3,
    })  # fmt: skip


def test_nucleus_that_covers_the_tile_and_is_missed_scores_0() -> None:
    assert figures(FULL, EMPTY) == exactly(figures(ONE, EMPTY))


def test_class_that_is_found_but_absent_from_the_truth_is_undefined_and_counts_in_strict_mpq_alone() -> None:
    true_classes, found_classes = np.where(TWO, 2, 0), np.choose(TWO, [0, 2, 1])

    assert figures(TWO, TWO, true_classes, found_classes) == exactly({
        **ALL_RIGHT, "pq_1": NAN, "mpq": 2 / 3, "mpq_strict": 1 / 3, "f1_1": 0,
    })  # fmt: skip


def test_class_of_the_truth_that_is_not_found_scores_0() -> None:
    true_classes, found_classes = np.choose(TWO, [0, 2, 1]), np.where(TWO, 2, 0)

    assert figures(TWO, TWO, true_classes, found_classes) == exactly({
        **ALL_RIGHT, "pq_1": 0, "mpq": 1 / 3, "mpq_strict": 1 / 3, "f1_1": 0,
    })  # fmt: skip


def test_class_that_neither_side_has_is_undefined_and_in_no_mean() -> None:
    classes = np.where(TWO, 4, 0)

    assert figures(TWO, TWO, classes, classes) == exactly({**ALL_RIGHT, "pq_1": NAN, "f1_1": NAN})


def test_nuclei_without_a_class_count_where_classes_do_not() -> None:
    assert figures(TWO, TWO, EMPTY, EMPTY) == exactly({
        **ALL_RIGHT, "pq_1": NAN, "mpq": NAN, "mpq_strict": NAN, "f1_1": NAN,
    })  # fmt: skip


def test_missed_nucleus_near_the_corner_is_paired_with_nothing() -> None:
    corner = np.zeros((16, 16), np.uint16)
    corner[4:7, 4:7] = 1

    counts = detection_counts(corner, np.array([1]), np.zeros_like(corner), np.array([], np.int64))

    assert counts.detection._asdict() == exactly({"precision": NAN, "recall": 0, "f1": 0})


def test_empty_tile_adds_nothing_to_the_detections_of_others() -> None:
    none = np.array([], np.int64)

    total = detection_counts(TWO, np.array([1, 1]), ONE, np.array([1])) + detection_counts(EMPTY, none, EMPTY, none)

    assert total.table.sum() == 2
    assert total.detection.f1 == 2 / 3
    assert np.isnan(DetectionCounts.zero().detection).all()


def test_undefined_tiles_are_left_out_of_the_mean_over_organs() -> None:
    bpq = np.array([tile_scores(truth, truth, found, found).bpq for truth, found in ((ONE, ONE), (EMPTY, ONE))])

    assert mean_over_organs(bpq, np.array(["Colon", "Colon"])) == 1
    assert mean_over_organs(bpq, np.array(["Colon", "Liver"])) == 1
    assert np.isnan(mean_over_organs(bpq[1:], np.array(["Liver"])))


def test_nuclei_found_on_an_empty_tile_count_in_pooled_mpq() -> None:
    tiles = [tile_scores(truth, truth, found, found).counts for truth, found in ((ONE, ONE), (EMPTY, ONE))]

    assert pooled_mpq(tiles) == 1 / 1.5
    assert pooled_mpq(tiles[1:]) == 0
    assert np.isnan(pooled_mpq([]))
