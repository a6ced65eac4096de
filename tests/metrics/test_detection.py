import math

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.detection import (
    RADIUS_PX,
    class_scores,
    detection_counts,
    detection_scores,
    pair_centroids,
    pair_table,
    pair_within,
)


def row(*columns: float) -> np.ndarray:
    """Centroids in row 5."""
    return np.array([[5.0, column] for column in columns]).reshape(-1, 2)


@pytest.mark.parametrize(("distance_px", "score"), [(RADIUS_PX, 1.0), (RADIUS_PX + 0.01, 0.0)])
def test_a_pair_at_the_radius_counts_and_one_beyond_it_does_not(distance_px: float, score: float) -> None:
    table = detection_counts(row(5), np.array([1]), row(5 + distance_px), np.array([1]))

    assert detection_scores(table) == (score, score, score)


def test_a_pair_of_different_classes_is_a_detection_and_counts_twice_by_class() -> None:
    table = detection_counts(row(5, 25, 45), np.array([1, 1, 1]), row(5, 25, 70), np.array([1, 2, 1]))

    assert detection_scores(table).f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert class_scores(table, 1).f1 == pytest.approx(2 * 1 / (2 * 1 + 2 * 1 + 1 + 1))
    assert class_scores(table, 1).precision == pytest.approx(1 / (1 + 1))
    assert class_scores(table, 1).recall == pytest.approx(1 / (1 + 2 + 1))
    assert class_scores(table, 2) == (0.0, pytest.approx(math.nan, nan_ok=True), 0.0)
    assert all(math.isnan(score) for score in class_scores(table, 5))


def test_scores_of_many_tables_equal_those_of_each_and_f1_is_the_harmonic_mean() -> None:
    tables = np.random.default_rng(0).integers(1, 9, (4, 7, 7))

    for scores_of in (detection_scores, lambda counts: class_scores(counts, 3)):
        precision, recall, f1 = scores_of(tables)

        np.testing.assert_array_equal(np.transpose([precision, recall, f1]), [scores_of(table) for table in tables])
        np.testing.assert_allclose(f1, 2 * precision * recall / (precision + recall))


def test_a_missing_class_is_refused_with_both_counts() -> None:
    with pytest.raises(ContractError, match=r"1 true and 2 predicted nuclei, found 2 and 2.*TileScores"):
        detection_counts(row(5), np.array([1, 1]), row(5, 9), np.array([1, 1]))


@pytest.mark.parametrize("nucleus_class", [0, 6])
def test_background_and_unknown_classes_have_no_scores(nucleus_class: int) -> None:
    with pytest.raises(ContractError, match=r"in 1\.\.5"):
        class_scores(np.zeros((7, 7)), nucleus_class)


def test_distances_beyond_the_radius_are_excluded_before_the_assignment() -> None:
    true, predicted = row(0, 13), row(12.5, 25.5)

    assert len(pair_centroids(true, predicted).true) == 0  # 12.5 + 12.5 px is less than 25.5 + 0.5 px
    assert pair_within(true, predicted).true.tolist() == [1]
    assert pair_within(true, predicted).predicted.tolist() == [0]


def test_with_ten_percent_errors_the_published_pairing_loses_true_pairs() -> None:
    rng, published, near = np.random.default_rng(0), np.zeros((7, 7)), np.zeros((7, 7))
    for _ in range(20):  # 10 % missed, 10 % false, 2 px of jitter, 100 nuclei at least 12 px apart
        at = np.zeros((0, 2))
        while len(at) < 100:
            new = rng.uniform(0, 256, 2)
            at = np.vstack([at, new]) if (np.hypot(*(at - new).T) >= 12).all() else at
        kept = at[rng.random(100) >= 0.1]
        predicted_at = np.concatenate([kept + rng.normal(0, 2, kept.shape), rng.uniform(0, 256, (10, 2))])
        classes = np.ones(100, int), np.ones(len(predicted_at), int)
        published += pair_table(*classes, pair_centroids(at, predicted_at))
        near += pair_table(*classes, pair_within(at, predicted_at))

    assert detection_scores(published).f1 == pytest.approx(0.852, abs=0.02)
    assert detection_scores(near).f1 == pytest.approx(0.903, abs=0.01)
