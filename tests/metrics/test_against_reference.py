"""Fast metrics equal slow ones written from the papers, on random maps of all difficult kinds.

Whole numbers, and quotients of two of them, are equal to the last bit; sums of quotients to 1e-12.
"""

from math import inf, isnan, nan

import instance_maps
import maps_reference
import metrics_reference as reference
import numpy as np
import outlines_reference
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.agreement import count_bias, count_concordance, count_limit, moments
from cellvit.metrics.classification import expected_calibration_error
from cellvit.metrics.contingency import contingency
from cellvit.metrics.detection import class_scores, detection_counts, detection_scores, pair_centroids, pair_within
from cellvit.metrics.maps import METRICS, MapSums
from cellvit.metrics.outlines import outline_distances, tolerant_panoptic
from cellvit.metrics.overlap import as_rows
from cellvit.metrics.pannuke import mean_over_organs, pooled_mpq_of_sums, tile_scores

Tile = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

every_kind = pytest.mark.parametrize("kind", instance_maps.KINDS)
"""Nothing, full, 300 nuclei, touching, nested, cut by the border, single pixels; ids with gaps, 16-bit and larger."""

unshrunk = settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""The tiles come from a seed, so that shrinking it gives no simpler tile and takes minutes."""


def same(value: float, expected: float) -> bool:
    """Equal to the last bit, or both undefined."""
    return value == expected or (isnan(value) and isnan(expected))


def assert_equal_overlap(truth: np.ndarray, predicted: np.ndarray) -> None:
    counts = panoptic_quality(truth, predicted)

    expected = reference.panoptic(reference.nuclei(truth), reference.nuclei(predicted))
    assert (counts.true_positives, counts.false_positives, counts.false_negatives) == expected[:3]
    assert counts.matched_iou == pytest.approx(expected[3], abs=1e-12)
    assert (counts.dq, counts.sq, counts.pq) == pytest.approx(reference.qualities(expected), abs=1e-12, nan_ok=True)
    assert same(dice(truth, predicted), reference.dice(truth, predicted))
    assert same(aji(truth, predicted), reference.aji(truth, predicted))
    least, greatest = reference.aji_plus(truth, predicted)
    value = aji_plus(truth, predicted)
    assert least <= value <= greatest or (isnan(value) and isnan(least))


def assert_equal_tile_scores(tile: Tile) -> None:
    scores = tile_scores(*tile)

    bpq, by_class, mpq, mpq_strict, counts = reference.pannuke(*tile)
    assert scores.bpq == pytest.approx(bpq, abs=1e-12, nan_ok=True)
    assert scores.pq == pytest.approx(by_class, abs=1e-12, nan_ok=True)
    assert scores.mpq == pytest.approx(mpq, abs=1e-12, nan_ok=True)
    assert scores.mpq_strict == pytest.approx(mpq_strict, abs=1e-12, nan_ok=True)
    np.testing.assert_allclose(as_rows(scores.counts), counts, rtol=0, atol=1e-12)
    for nuclei, classes, class_of in ((0, 1, scores.true_class_of), (2, 3, scores.predicted_class_of)):
        pixels = reference.nuclei(tile[nuclei]).values()
        assert class_of.tolist() == [reference.class_of(p, tile[classes]) for p in pixels]


@every_kind
@unshrunk
@given(data=st.data())
def test_shared_pixels_areas_and_labels_equal_the_reference(kind: str, data: st.DataObject) -> None:
    truth, _, predicted, _ = data.draw(instance_maps.tiles(kind))

    table = contingency(truth, predicted)

    true_nuclei, predicted_nuclei = reference.nuclei(truth), reference.nuclei(predicted)
    rows, columns = np.nonzero(table.overlap)
    pairs = zip(table.true_labels[rows].tolist(), table.predicted_labels[columns].tolist(), strict=True)
    assert dict(zip(pairs, table.overlap[rows, columns].tolist(), strict=True)) == reference.overlaps(
        true_nuclei, predicted_nuclei
    )
    assert table.overlap.shape == (len(true_nuclei), len(predicted_nuclei))
    assert table.true_labels.tolist() == list(true_nuclei)
    assert table.true_area.tolist() == [len(pixels) for pixels in true_nuclei.values()]
    assert table.predicted_area.tolist() == [len(pixels) for pixels in predicted_nuclei.values()]


@every_kind
@unshrunk
@given(data=st.data())
def test_overlap_metrics_equal_the_reference(kind: str, data: st.DataObject) -> None:
    truth, _, predicted, _ = data.draw(instance_maps.tiles(kind))

    assert_equal_overlap(truth, predicted)


@every_kind
@unshrunk
@given(data=st.data())
def test_tile_scores_equal_the_reference(kind: str, data: st.DataObject) -> None:
    assert_equal_tile_scores(data.draw(instance_maps.tiles(kind)))


@every_kind
@unshrunk
@given(data=st.data())
def test_detections_are_pairs_of_least_total_distance(kind: str, data: st.DataObject) -> None:
    tile = data.draw(instance_maps.tiles(kind))
    truth, _, predicted, _ = tile
    scores = tile_scores(*tile)
    (true_at, predicted_at), true_class_of, predicted_class_of = (
        scores.centroids,
        scores.true_class_of,
        scores.predicted_class_of,
    )

    table = detection_counts(true_at, true_class_of, predicted_at, predicted_class_of)
    rows, columns = pair_centroids(true_at, predicted_at, radius_px=inf)

    # Assignments may tie, so the pairs themselves are not compared. They must be one to one, as many as possible and of
    # the smallest total distance, and the table must be that of the pairs within the radius.
    assert len(set(rows)) == len(set(columns)) == len(rows) == min(len(true_at), len(predicted_at))
    distance_px = np.hypot(*(true_at[rows] - predicted_at[columns]).T)
    assert distance_px.sum() == pytest.approx(reference.least_distance(truth, predicted), abs=1e-9)
    near = distance_px <= reference.RADIUS_PX
    pairs = list(zip(rows[near].tolist(), columns[near].tolist(), strict=True))
    assert table.tolist() == reference.table_of(pairs, true_class_of.tolist(), predicted_class_of.tolist())
    assert true_at.tolist() == [list(at) for at in reference.centroids(truth)]
    assert all(map(same, detection_scores(table), reference.detection_scores(table.tolist())))
    for c in range(1, 6):
        assert all(map(same, class_scores(table, c), reference.class_scores(table.tolist(), c)))


@settings(max_examples=150)
@given(tile=instance_maps.small_tiles())
def test_metrics_of_a_few_nuclei_equal_the_reference(tile: Tile) -> None:
    truth, _, predicted, _ = tile

    assert_equal_overlap(truth, predicted)
    assert_equal_tile_scores(tile)


@settings(max_examples=50)
@given(several=st.lists(st.tuples(instance_maps.small_tiles(), st.sampled_from(["Breast", "Colon"])), min_size=1))
def test_means_over_organs_and_pooled_mpq_equal_the_reference(several: list[tuple[Tile, str]]) -> None:
    scores = [tile_scores(*tile) for tile, _ in several]
    organs = [organ for _, organ in several]

    pooled = float(pooled_mpq_of_sums(np.stack([as_rows(score.counts) for score in scores]).sum(axis=0)))
    bpq = mean_over_organs(np.array([score.bpq for score in scores]), np.array(organs))
    mpq = mean_over_organs(np.array([score.mpq for score in scores]), np.array(organs))

    slow = [reference.pannuke(*tile) for tile, _ in several]
    sums = [tuple(map(sum, zip(*of_class, strict=True))) for of_class in zip(*(tile[4] for tile in slow), strict=True)]
    assert pooled == pytest.approx(reference.mean([reference.quality(s) for s in sums]), abs=1e-12, nan_ok=True)
    for value, place in ((bpq, 0), (mpq, 2)):
        expected = reference.mean_over_organs([tile[place] for tile in slow], organs)
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 3), coverage=st.sampled_from([0.0, 0.3, 1.0]))
def test_map_metrics_equal_the_reference(seed: int, n: int, coverage: float) -> None:
    rng = np.random.default_rng(seed)
    instances = (rng.random((n, 5, 6)) < coverage).astype(np.int32)
    np_prob, hv = rng.random((n, 5, 6)).astype(np.float32), rng.uniform(-1, 1, (n, 2, 5, 6)).astype(np.float32)
    hv_true = (rng.uniform(-1, 1, (n, 2, 5, 6)) * instances[:, None]).astype(np.float32)
    nt, classes = rng.integers(0, 6, (n, 5, 6)), rng.integers(1, 6, (n, 5, 6)) * instances

    sums = MapSums.of(np_prob, hv, nt, instances, classes, hv_true)

    expected = maps_reference.map_metrics(np_prob, hv, nt, instances, classes, hv_true)
    assert set(expected) == set(METRICS)
    for name, value in expected.items():
        assert sums.value(name) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 30), k=st.integers(1, 5), bins=st.integers(1, 15))
def test_calibration_error_equals_the_reference(seed: int, n: int, k: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, truth = rng.dirichlet(np.ones(k), n), rng.integers(0, k, n)

    error = expected_calibration_error(probabilities, truth, bins=bins)

    assert error == pytest.approx(maps_reference.calibration_error(probabilities, truth, bins), abs=1e-12, nan_ok=True)


def assert_equal_outlines(truth: np.ndarray, predicted: np.ndarray) -> None:
    table = contingency(truth, predicted)

    distances = outline_distances(truth, predicted, table)
    tolerant = tolerant_panoptic(truth, predicted, table)

    expected = np.array(outlines_reference.outline_distances(truth, predicted)).reshape(-1, 2)
    np.testing.assert_allclose(np.stack(distances, axis=1), expected, rtol=0, atol=1e-12)
    counts = outlines_reference.tolerant_panoptic(truth, predicted)
    assert (tolerant.true_positives, tolerant.false_positives, tolerant.false_negatives) == counts[:3]
    assert tolerant.matched_iou == pytest.approx(counts[3], abs=1e-12)


@every_kind
@unshrunk
@given(data=st.data())
def test_outline_distances_and_tolerant_pq_equal_the_reference(kind: str, data: st.DataObject) -> None:
    truth, _, predicted, _ = data.draw(instance_maps.tiles(kind))

    assert_equal_outlines(truth, predicted)


@settings(max_examples=100)
@given(tile=instance_maps.small_tiles())
def test_outlines_of_a_few_nuclei_equal_the_reference(tile: Tile) -> None:
    assert_equal_outlines(tile[0], tile[2])


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 6), m=st.integers(0, 6), side_px=st.integers(10, 60))
def test_near_pairs_are_as_many_as_possible_and_of_least_total_distance(
    seed: int, n: int, m: int, side_px: int
) -> None:
    rng = np.random.default_rng(seed)
    true_at, predicted_at = rng.uniform(0, side_px, (n, 2)), rng.uniform(0, side_px, (m, 2))

    rows, columns = pair_within(true_at, predicted_at)

    distance_px = np.hypot(*(true_at[rows] - predicted_at[columns]).T)
    assert len(set(rows)) == len(set(columns)) == len(rows)
    assert (distance_px <= reference.RADIUS_PX).all()
    count, total = outlines_reference.pairs_within(true_at.tolist(), predicted_at.tolist(), reference.RADIUS_PX)
    assert (len(rows), float(distance_px.sum())) == (count, pytest.approx(total, abs=1e-9))


@settings(max_examples=100)
@given(counts=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=20))
def test_agreement_of_counts_equals_the_reference(counts: list[tuple[int, int]]) -> None:
    true, predicted = np.array(counts, np.float64).reshape(-1, 2).T

    sums = moments(true, predicted).sum(axis=0)

    found = [float(metric(sums)) for metric in (count_bias, count_limit, count_concordance)]
    expected = outlines_reference.agreement(*map(list, zip(*counts, strict=True))) if counts else (nan, nan, nan)
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)
