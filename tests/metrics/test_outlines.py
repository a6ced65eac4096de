import numpy as np
import pytest

from cellvit.metrics.contingency import contingency
from cellvit.metrics.outlines import OutlineDistances, borders, outline_distances, tolerant_panoptic
from cellvit.metrics.overlap import PanopticCounts, panoptic_quality


def square(label: int = 1) -> np.ndarray:
    instances = np.zeros((8, 8), np.int32)
    instances[2:6, 2:6] = label
    return instances


def disc(radius_px: float, *, column: int = 32) -> np.ndarray:
    rows, columns = np.ogrid[:64, :64]
    return ((rows - 32) ** 2 + (columns - column) ** 2 <= radius_px**2).astype(np.int32)


def outlines(instances: np.ndarray) -> np.ndarray:
    return borders(instances) & (instances > 0)


def tolerant(truth: np.ndarray, prediction: np.ndarray) -> PanopticCounts:
    return tolerant_panoptic(truth, prediction, contingency(truth, prediction))


def distances(truth: np.ndarray, prediction: np.ndarray) -> OutlineDistances:
    return outline_distances(truth, prediction, contingency(truth, prediction))


def test_an_outline_is_the_rim_of_a_nucleus_and_lies_inside_it() -> None:
    edge = outlines(square())

    assert edge.sum() == 12
    assert not edge[square() == 0].any()


def test_touching_nuclei_have_a_line_each() -> None:
    instances = square()
    instances[2:6, 4:6] = 2

    edge = outlines(instances)

    assert edge[3, 3]
    assert edge[3, 4]


def test_nucleus_cut_by_the_border_is_open_there() -> None:
    instances = np.ones((3, 4), np.int32)

    assert not outlines(instances).any()


def test_no_nuclei_give_no_outlines() -> None:
    assert not outlines(np.zeros((4, 4), np.int32)).any()


def test_equal_nuclei_have_distance_zero_and_larger_ones_their_difference_of_radii() -> None:
    assert distances(disc(10), disc(10)) == (0, 0)
    mean_px, hausdorff_px = distances(disc(10), disc(12))

    assert mean_px[0] == pytest.approx(2, abs=0.3)  # pixels are whole, so that diagonals are nearer
    assert 2 <= hausdorff_px[0] <= 2.5


def test_a_shift_moves_the_hausdorff_distance_by_more_than_the_mean() -> None:
    mean_px, hausdorff_px = distances(disc(10), disc(10, column=36))

    assert mean_px[0] == pytest.approx(4 * 2 / np.pi, abs=0.3)  # mean of 4 |cos| over all directions
    assert hausdorff_px[0] == pytest.approx(4, abs=0.3)


def test_nuclei_without_a_match_or_an_outline_have_no_distance() -> None:
    whole_tile = np.ones((8, 8), np.int32)

    for truth, prediction in ((square(), 0 * square()), (whole_tile, whole_tile), (0 * square(), 0 * square())):
        assert [len(part) for part in distances(truth, prediction)] == [0, 0]


@pytest.mark.parametrize("radius_px", [4, 6])
@pytest.mark.parametrize("error_px", [-1, 1])
def test_an_outline_that_is_off_by_one_pixel_costs_pq_but_nothing_with_the_tolerance(
    radius_px: int, error_px: int
) -> None:
    truth = disc(radius_px)
    edges = outlines(truth) if error_px < 0 else outlines(1 - truth)
    prediction = np.where(edges, int(error_px > 0), truth)

    assert panoptic_quality(truth, prediction).pq < 0.8
    assert tolerant(truth, prediction).pq == 1


def test_merged_nuclei_and_false_ones_are_errors_in_spite_of_the_tolerance() -> None:
    both = np.zeros((20, 40), np.int32)
    both[5:15, 5:15], both[5:15, 15:25] = 1, 2

    merged = tolerant(both, (both > 0).astype(np.int32))
    with_false = both.copy()
    with_false[5:9, 30:34] = 3

    assert (merged.true_positives, merged.false_negatives, merged.false_positives) == (0, 2, 1)
    assert tolerant(both, with_false).false_positives == 1


def test_nuclei_that_are_nothing_but_border_do_not_count() -> None:
    thin = np.zeros((8, 8), np.int32)
    thin[3:5, 1:7] = 1

    assert tolerant(thin, thin) == PanopticCounts(0, 0, 0, 0.0)
