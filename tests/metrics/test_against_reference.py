"""Fast metrics equal slow ones written from the papers, on random maps of every awkward kind.

Whole numbers, and quotients of two of them, are equal to the last bit; sums of quotients to 1e-12.
"""

from math import inf, isnan

import instance_maps
import maps_reference
import metrics_reference as reference
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.classification import expected_calibration_error
from cellvit.metrics.contingency import contingency
from cellvit.metrics.detection import DetectionCounts, detection_counts, pair_centroids
from cellvit.metrics.instances import centroids, majority_classes
from cellvit.metrics.maps import FIGURES, MapSums
from cellvit.metrics.pannuke import mean_over_organs, pooled_mpq, tile_scores

Tile = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

every_kind = pytest.mark.parametrize("kind", instance_maps.KINDS)
"""Nothing, full, 300 nuclei, touching, nested, cut by the border, single pixels; ids with gaps, 16-bit and larger."""

unshrunk = settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""These tiles come from a seed: making it smaller makes no simpler tile, and takes minutes."""


def same(value: float, expected: float) -> bool:
    """Equal to the last bit, or both undefined."""
    return value == expected or (isnan(value) and isnan(expected))


def assert_equal_overlap_figures(truth: np.ndarray, found: np.ndarray) -> None:
    counts = panoptic_quality(truth, found)

    expected = reference.panoptic(reference.nuclei(truth), reference.nuclei(found))
    assert (counts.true_positives, counts.false_positives, counts.false_negatives) == expected[:3]
    assert counts.matched_iou == pytest.approx(expected[3], abs=1e-12)
    found_qualities = (counts.dq, counts.sq, counts.pq)
    assert found_qualities == pytest.approx(reference.qualities(expected), abs=1e-12, nan_ok=True)
    assert same(dice(truth, found), reference.dice(truth, found))
    assert same(aji(truth, found), reference.aji(truth, found))
    least, greatest = reference.aji_plus(truth, found)
    value = aji_plus(truth, found)
    assert least <= value <= greatest or (isnan(value) and isnan(least))


def assert_equal_tile_scores(tile: Tile) -> None:
    scores = tile_scores(*tile)

    bpq, by_class, mpq, mpq_strict, counts = reference.pannuke(*tile)
    assert scores.bpq == pytest.approx(bpq, abs=1e-12, nan_ok=True)
    assert scores.pq == pytest.approx(by_class, abs=1e-12, nan_ok=True)
    assert scores.mpq == pytest.approx(mpq, abs=1e-12, nan_ok=True)
    assert scores.mpq_strict == pytest.approx(mpq_strict, abs=1e-12, nan_ok=True)
    for found, expected in zip(scores.counts, counts, strict=True):
        assert (found.true_positives, found.false_positives, found.false_negatives) == expected[:3]
        assert found.matched_iou == pytest.approx(expected[3], abs=1e-12)


def assert_equal_scores_of_detections(counts: DetectionCounts) -> None:
    table = counts.table.tolist()
    assert all(map(same, counts.detection, reference.detection_scores(table)))
    for c in range(1, 6):
        assert all(map(same, counts.of_class(c), reference.class_scores(table, c)))


@every_kind
@unshrunk
@given(data=st.data())
def test_shared_pixels_areas_labels_and_classes_equal_the_reference(kind: str, data: st.DataObject) -> None:
    truth, classes, found, _ = data.draw(instance_maps.tiles(kind))

    table = contingency(truth, found)

    true_nuclei, found_nuclei = reference.nuclei(truth), reference.nuclei(found)
    rows, columns = np.nonzero(table.overlap)
    pairs = zip(table.true_labels[rows].tolist(), table.found_labels[columns].tolist(), strict=True)
    assert dict(zip(pairs, table.overlap[rows, columns].tolist(), strict=True)) == reference.overlaps(
        true_nuclei, found_nuclei
    )
    assert table.overlap.shape == (len(true_nuclei), len(found_nuclei))
    assert table.true_labels.tolist() == list(true_nuclei)
    assert table.true_area.tolist() == [len(pixels) for pixels in true_nuclei.values()]
    assert table.found_area.tolist() == [len(pixels) for pixels in found_nuclei.values()]
    assert majority_classes(truth, classes).tolist() == [reference.class_of(p, classes) for p in true_nuclei.values()]


@every_kind
@unshrunk
@given(data=st.data())
def test_overlap_figures_equal_the_reference(kind: str, data: st.DataObject) -> None:
    truth, _, found, _ = data.draw(instance_maps.tiles(kind))

    assert_equal_overlap_figures(truth, found)


@every_kind
@unshrunk
@given(data=st.data())
def test_tile_scores_equal_the_reference(kind: str, data: st.DataObject) -> None:
    assert_equal_tile_scores(data.draw(instance_maps.tiles(kind)))


@every_kind
@unshrunk
@given(data=st.data())
def test_detections_are_pairs_of_least_total_distance(kind: str, data: st.DataObject) -> None:
    truth, truth_classes, found, found_classes = data.draw(instance_maps.tiles(kind))
    true_class_of, found_class_of = majority_classes(truth, truth_classes), majority_classes(found, found_classes)
    true_at, found_at = centroids(truth), centroids(found)

    counts = detection_counts(truth, true_class_of, found, found_class_of)
    rows, columns = pair_centroids(true_at, found_at, radius_px=inf)

    # Assignments may tie, so the pairs themselves are not compared: they must be one to one, as many as there can be
    # and as near in total as the nearest, and the table must be that of those within the radius.
    assert len(set(rows)) == len(set(columns)) == len(rows) == min(len(true_at), len(found_at))
    distance_px = np.hypot(*(true_at[rows] - found_at[columns]).T)
    assert distance_px.sum() == pytest.approx(reference.least_distance(truth, found), abs=1e-9)
    near = distance_px <= reference.RADIUS_PX
    pairs = list(zip(rows[near].tolist(), columns[near].tolist(), strict=True))
    assert counts.table.tolist() == reference.table_of(pairs, true_class_of.tolist(), found_class_of.tolist())
    assert true_at.tolist() == [list(at) for at in reference.centroids(truth)]
    assert_equal_scores_of_detections(counts)


@settings(max_examples=150, deadline=None)
@given(tile=instance_maps.small_tiles())
def test_figures_of_a_few_nuclei_equal_the_reference(tile: Tile) -> None:
    truth, _, found, _ = tile

    assert_equal_overlap_figures(truth, found)
    assert_equal_tile_scores(tile)
    assert any(same(aji_plus(truth, found), value) for value in reference.aji_plus_by_trial(truth, found))


@settings(max_examples=100, deadline=None)
@given(tile=instance_maps.small_tiles(), scale=st.sampled_from([1, 6]))
def test_detections_of_a_few_nuclei_are_those_of_one_of_all_assignments(tile: Tile, scale: int) -> None:
    truth, truth_classes, found, found_classes = (np.kron(m, np.ones((scale, scale), m.dtype)) for m in tile)
    true_class_of, found_class_of = majority_classes(truth, truth_classes), majority_classes(found, found_classes)

    counts = detection_counts(truth, true_class_of, found, found_class_of)

    tables = reference.detections_by_trial(truth, true_class_of.tolist(), found, found_class_of.tolist())
    assert counts.table.tolist() in tables
    assert_equal_scores_of_detections(counts)


@settings(max_examples=100, deadline=None)
@given(
    cost=hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=4).flatmap(
        lambda shape: hnp.arrays(np.int64, shape, elements=st.integers(-5, 5))
    )
)
def test_assignment_of_the_reference_is_the_least_of_all(cost: np.ndarray) -> None:
    pairs = reference.least_assignment(cost.tolist())

    complete = [tried for tried in reference.assignments(*cost.shape) if len(tried) == min(cost.shape)]
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == min(cost.shape)
    assert sum(cost[pair] for pair in pairs) == min(sum(cost[pair] for pair in tried) for tried in complete)


@settings(max_examples=100, deadline=None)
@given(tile=instance_maps.small_tiles())
def test_ties_of_the_reference_are_those_of_all_assignments(tile: Tile) -> None:
    truth, _, found, _ = tile

    bounds = reference.aji_plus(truth, found)

    tried = reference.aji_plus_by_trial(truth, found)
    assert all(map(same, bounds, (min(tried), max(tried))))


@settings(max_examples=50, deadline=None)
@given(several=st.lists(st.tuples(instance_maps.small_tiles(), st.sampled_from(["Breast", "Colon"])), min_size=1))
def test_means_over_organs_and_pooled_mpq_equal_the_reference(several: list[tuple[Tile, str]]) -> None:
    scores = [tile_scores(*tile) for tile, _ in several]
    organs = [organ for _, organ in several]

    pooled = pooled_mpq([score.counts for score in scores])
    bpq = mean_over_organs(np.array([score.bpq for score in scores]), np.array(organs))
    mpq = mean_over_organs(np.array([score.mpq for score in scores]), np.array(organs))

    slow = [reference.pannuke(*tile) for tile, _ in several]
    sums = [tuple(map(sum, zip(*of_class, strict=True))) for of_class in zip(*(tile[4] for tile in slow), strict=True)]
    assert pooled == pytest.approx(reference.mean([reference.quality(s) for s in sums]), abs=1e-12, nan_ok=True)
    for value, place in ((bpq, 0), (mpq, 2)):
        expected = reference.mean_over_organs([tile[place] for tile in slow], organs)
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 3), coverage=st.sampled_from([0.0, 0.3, 1.0]))
def test_map_figures_equal_the_reference(seed: int, n: int, coverage: float) -> None:
    rng = np.random.default_rng(seed)
    instances = (rng.random((n, 5, 6)) < coverage).astype(np.int32)
    np_prob, hv = rng.random((n, 5, 6)).astype(np.float32), rng.uniform(-1, 1, (n, 2, 5, 6)).astype(np.float32)
    hv_true = (rng.uniform(-1, 1, (n, 2, 5, 6)) * instances[:, None]).astype(np.float32)
    nt, classes = rng.integers(0, 6, (n, 5, 6)), rng.integers(1, 6, (n, 5, 6)) * instances

    sums = MapSums.of(np_prob, hv, nt, instances, classes, hv_true)

    expected = maps_reference.map_values(np_prob, hv, nt, instances, classes, hv_true)
    assert set(expected) == set(FIGURES)
    for name, value in expected.items():
        assert getattr(sums, name) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 30), k=st.integers(1, 5), bins=st.integers(1, 15))
def test_calibration_error_equals_the_reference(seed: int, n: int, k: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, truth = rng.dirichlet(np.ones(k), n), rng.integers(0, k, n)

    error = expected_calibration_error(probabilities, truth, bins=bins)

    assert error == pytest.approx(maps_reference.calibration_error(probabilities, truth, bins), abs=1e-12, nan_ok=True)
