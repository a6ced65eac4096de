"""Fast metrics equal slow ones written from the papers, on random maps of every awkward kind."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvit.metrics import aji, aji_plus, dice, panoptic_quality
from cellvit.metrics.classification import expected_calibration_error
from cellvit.metrics.detection import detection_counts
from cellvit.metrics.instances import centroids, majority_classes
from cellvit.metrics.maps import FIGURES, MapSums
from cellvit.metrics.pannuke import pooled_mpq, tile_scores

IDS = (1, 2, 3, 7, 40, 300, 65_535, 70_000, 2**31 - 1)
MAX_NUCLEI = 4


@st.composite
def instance_maps(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """Rectangles painted over one another: touching, nested, overpainted, single pixels, ids with gaps, or none."""
    dtype = draw(st.sampled_from([np.uint16, np.int32, np.uint32, np.int64]))
    ids = st.sampled_from([i for i in IDS if i <= np.iinfo(dtype).max])
    instances = np.zeros(shape, dtype)
    for label in draw(st.lists(ids, max_size=MAX_NUCLEI, unique=True)):
        top, left = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
        bottom, right = draw(st.integers(top, shape[0] - 1)), draw(st.integers(left, shape[1] - 1))
        instances[top : bottom + 1, left : right + 1] = label
    return instances


@st.composite
def tiles(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth and prediction with their classes; the prediction is unrelated, the truth itself, or the truth shifted."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    truth = draw(instance_maps(shape))
    found = draw(
        st.one_of(instance_maps(shape), st.just(truth), st.integers(0, 2).map(lambda by: np.roll(truth, by, axis=0)))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth_classes = (rng.integers(0, 6, shape) * (truth > 0)).astype(np.uint8)
    same = draw(st.booleans())
    found_classes = truth_classes if same else rng.integers(0, 6, shape).astype(np.int64)
    return truth, truth_classes, found, found_classes


@settings(max_examples=200, deadline=None)
@given(tile=tiles())
def test_overlap_figures_equal_the_reference(
    reference: ModuleType, tile: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
) -> None:
    truth, _, found, _ = tile

    counts = panoptic_quality(truth, found)

    expected = reference.panoptic(reference.nuclei(truth), reference.nuclei(found))
    assert (counts.true_positives, counts.false_positives, counts.false_negatives) == expected[:3]
    assert counts.matched_iou == pytest.approx(expected[3], abs=1e-12)
    assert counts.pq == pytest.approx(reference.quality(expected), abs=1e-12, nan_ok=True)
    assert dice(truth, found) == pytest.approx(reference.dice(truth, found), abs=1e-12, nan_ok=True)
    assert aji(truth, found) == pytest.approx(reference.aji(truth, found), abs=1e-12, nan_ok=True)
    assert any(
        aji_plus(truth, found) == pytest.approx(value, abs=1e-12, nan_ok=True)
        for value in reference.aji_plus(truth, found)
    )


@settings(max_examples=200, deadline=None)
@given(tile=tiles())
def test_tile_scores_equal_the_reference(
    reference: ModuleType, tile: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
) -> None:
    scores = tile_scores(*tile)

    bpq, by_class, mpq, mpq_strict, counts = reference.pannuke(*tile)
    assert scores.bpq == pytest.approx(bpq, abs=1e-12, nan_ok=True)
    assert scores.pq == pytest.approx(by_class, abs=1e-12, nan_ok=True)
    assert scores.mpq == pytest.approx(mpq, abs=1e-12, nan_ok=True)
    assert scores.mpq_strict == pytest.approx(mpq_strict, abs=1e-12, nan_ok=True)
    for found, expected in zip(scores.counts, counts, strict=True):
        assert (found.true_positives, found.false_positives, found.false_negatives) == expected[:3]
        assert found.matched_iou == pytest.approx(expected[3], abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(several=st.lists(tiles(), min_size=1, max_size=3))
def test_pooled_mpq_equals_the_reference(
    reference: ModuleType, several: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    pooled = pooled_mpq([tile_scores(*tile).counts for tile in several])

    by_tile = [reference.pannuke(*tile)[4] for tile in several]
    sums = [tuple(sum(column) for column in zip(*of_class, strict=True)) for of_class in zip(*by_tile, strict=True)]
    assert pooled == pytest.approx(reference.mean([reference.quality(s) for s in sums]), abs=1e-12, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(tile=tiles(), scale=st.sampled_from([1, 6]))
def test_detections_equal_the_reference(
    reference: ModuleType, tile: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], scale: int
) -> None:
    truth, truth_classes, found, found_classes = (np.kron(m, np.ones((scale, scale), m.dtype)) for m in tile)
    true_class_of, found_class_of = majority_classes(truth, truth_classes), majority_classes(found, found_classes)

    counts = detection_counts(truth, true_class_of, found, found_class_of)

    assert centroids(truth) == pytest.approx(np.array(reference.centroids(truth)).reshape(-1, 2), abs=1e-12)
    assert true_class_of.tolist() == [reference.class_of(p, truth_classes) for p in reference.nuclei(truth).values()]
    tables = reference.detections(truth, true_class_of.tolist(), found, found_class_of.tolist())
    assert counts.table.tolist() in tables
    for c in range(1, 6):
        assert counts.of_class(c).f1 == pytest.approx(
            reference.class_f1(counts.table.tolist(), c), abs=1e-12, nan_ok=True
        )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 3), coverage=st.sampled_from([0.0, 0.3, 1.0]))
def test_map_figures_equal_the_reference(reference: ModuleType, seed: int, n: int, coverage: float) -> None:
    rng = np.random.default_rng(seed)
    instances = (rng.random((n, 5, 6)) < coverage).astype(np.int32)
    np_prob, hv = rng.random((n, 5, 6)).astype(np.float32), rng.uniform(-1, 1, (n, 2, 5, 6)).astype(np.float32)
    hv_true = (rng.uniform(-1, 1, (n, 2, 5, 6)) * instances[:, None]).astype(np.float32)
    nt, classes = rng.integers(0, 6, (n, 5, 6)), rng.integers(1, 6, (n, 5, 6)) * instances

    sums = MapSums.of(np_prob, hv, nt, instances, classes, hv_true)

    expected = reference.map_figures(np_prob, hv, nt, instances, classes, hv_true)
    assert set(expected) == set(FIGURES)
    for name, value in expected.items():
        assert getattr(sums, name) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 30), k=st.integers(1, 5), bins=st.integers(1, 15))
def test_calibration_error_equals_the_reference(reference: ModuleType, seed: int, n: int, k: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, truth = rng.dirichlet(np.ones(k), n), rng.integers(0, k, n)

    error = expected_calibration_error(probabilities, truth, bins=bins)

    assert error == pytest.approx(reference.calibration_error(probabilities, truth, bins), abs=1e-12, nan_ok=True)
