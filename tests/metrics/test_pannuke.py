import math
import subprocess
import sys

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.overlap import PanopticCounts, aji, aji_of
from cellvit.metrics.pannuke import (
    counts_array,
    mean_over_organs,
    organ_means,
    pooled_mpq,
    pooled_mpq_of_sums,
    tile_scores,
)

TRUTH = np.array([[1, 1, 0, 2, 2, 0, 7, 7]], np.int32)
CLASSES = np.array([[1, 1, 0, 1, 1, 0, 3, 3]], np.uint8)
EMPTY = np.zeros_like(TRUTH)


def test_a_perfect_tile_scores_one_where_a_class_is_there_and_nan_elsewhere() -> None:
    scores = tile_scores(TRUTH, CLASSES, TRUTH, CLASSES)

    np.testing.assert_array_equal(scores.pq, [1, np.nan, 1, np.nan, np.nan])
    assert (scores.bpq, scores.mpq, scores.mpq_strict) == (1.0, 1.0, 1.0)


def test_a_tile_without_true_nuclei_is_undefined_whatever_was_found() -> None:
    scores = tile_scores(EMPTY, EMPTY, TRUTH, CLASSES)

    assert math.isnan(scores.bpq)
    assert math.isnan(scores.mpq)
    assert np.isnan(scores.pq).all()
    assert scores.mpq_strict == 0.0
    assert scores.binary == PanopticCounts(0, 3, 0, 0.0)


def test_a_tile_where_nothing_was_found_scores_zero() -> None:
    scores = tile_scores(TRUTH, CLASSES, EMPTY, EMPTY)

    np.testing.assert_array_equal(scores.pq, [0, np.nan, 0, np.nan, np.nan])
    assert (scores.bpq, scores.mpq, scores.mpq_strict) == (0.0, 0.0, 0.0)


def test_an_empty_tile_is_undefined_in_every_figure() -> None:
    scores = tile_scores(EMPTY, EMPTY, EMPTY, EMPTY)

    assert all(math.isnan(value) for value in (scores.bpq, scores.mpq, scores.mpq_strict, *scores.pq))


def test_a_wrong_class_costs_class_figures_but_not_bpq() -> None:
    mistaken = np.where(TRUTH == 2, 4, CLASSES)

    scores = tile_scores(TRUTH, CLASSES, TRUTH, mistaken)

    assert scores.bpq == 1.0
    np.testing.assert_allclose(scores.pq, [1 / 1.5, np.nan, 1, np.nan, np.nan])
    assert scores.mpq == pytest.approx((1 / 1.5 + 1) / 2)
    assert scores.mpq_strict == pytest.approx((1 / 1.5 + 1 + 0) / 3)  # class 4 is found, but absent from the truth
    assert scores.counts[3] == PanopticCounts(0, 1, 0, 0.0)


def test_a_nucleus_of_mixed_pixels_has_the_class_of_most_of_them() -> None:
    truth, found_classes = np.ones((1, 5), np.int32), np.array([[0, 0, 0, 2, 2]])

    scores = tile_scores(truth, truth * 2, truth, found_classes)

    assert scores.found_class_of.tolist() == [2]
    assert scores.pq[1] == 1.0


def test_class_counts_of_pure_classes_add_up_to_no_more_than_the_binary_ones() -> None:
    scores = tile_scores(TRUTH, CLASSES, np.roll(TRUTH, 1), np.roll(CLASSES, 1))

    total = sum(scores.counts, PanopticCounts())

    assert total.n_true == scores.binary.n_true
    assert total.true_positives <= scores.binary.true_positives


def test_the_table_serves_other_figures() -> None:
    scores = tile_scores(TRUTH, CLASSES, np.roll(TRUTH, 1), CLASSES)

    assert aji_of(scores.table) == aji(TRUTH, np.roll(TRUTH, 1))


def test_a_class_map_of_another_shape_is_refused() -> None:
    with pytest.raises(ContractError, match=r"\(1, 8\) and \(1, 4\)"):
        tile_scores(TRUTH, CLASSES[:, :4], TRUTH, CLASSES)


def test_organ_means_leave_out_undefined_tiles_and_count_every_organ_once() -> None:
    values = np.array([0.5, np.nan, 0.7, 0.1, np.nan])
    organs = np.array(["Colon", "Colon", "Colon", "Liver", "Skin"])

    means = organ_means(values, organs)

    assert means["Colon"] == pytest.approx(0.6)
    assert means["Liver"] == 0.1
    assert math.isnan(means["Skin"])
    assert mean_over_organs(values, organs) == pytest.approx((0.6 + 0.1) / 2)


def test_mean_over_organs_of_nothing_is_undefined() -> None:
    assert math.isnan(mean_over_organs(np.array([]), np.array([], dtype="U8")))
    assert math.isnan(pooled_mpq([]))


def test_pooled_mpq_divides_once_after_summing_over_tiles() -> None:
    good = tile_scores(TRUTH, CLASSES, TRUTH, CLASSES)
    blank = tile_scores(TRUTH, CLASSES, EMPTY, EMPTY)

    pooled = pooled_mpq([good.counts, blank.counts])

    assert pooled == pytest.approx(1 / 1.5)  # each class: half of its nuclei, all exact; the mean of tiles is 0.5
    rows = counts_array([good.counts, blank.counts])
    np.testing.assert_allclose(pooled_mpq_of_sums(np.stack([rows[0], rows.sum(axis=0)])), [1, 1 / 1.5])


def test_importing_the_metrics_loads_no_torch() -> None:
    modules = ("classification", "detection", "intervals", "maps", "pannuke")
    code = "; ".join(f"import cellvit.metrics.{name}" for name in modules)

    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "False"
