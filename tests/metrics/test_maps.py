import math

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.intervals import bootstrap
from cellvit.metrics.maps import COLUMNS, FIGURES, MapSums

SHAPE = (2, 4, 6)


@pytest.fixture
def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    instances = np.zeros(SHAPE, np.int32)
    instances[0, 1:3, 1:4] = 1
    instances[1, 0, 0:2] = 4
    classes = np.where(instances == 1, 2, np.where(instances == 4, 5, 0)).astype(np.uint8)
    hv = np.random.default_rng(0).uniform(-1, 1, (2, 2, 4, 6)).astype(np.float32) * (instances > 0)[:, None]
    return instances, classes, hv


def test_perfect_maps_score_perfectly(truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    instances, classes, hv = truth

    sums = MapSums.of((instances > 0).astype(np.float32), hv, classes, instances, classes, hv)

    assert (sums.np_dice, sums.hv_mse, sums.hv_skill, sums.nt_accuracy) == (1.0, 0.0, 1.0, 1.0)
    assert sums.hv_magnitude == sums.hv_magnitude_true


def test_trivial_answers_score_exactly_the_baselines(truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    instances, classes, hv = truth

    sums = MapSums.of(np.ones(SHAPE), np.zeros_like(hv), np.full(SHAPE, 2), instances, classes, hv)

    assert sums.np_dice == sums.np_dice_all_foreground == 2 * 8 / (8 + 48)
    assert sums.hv_mse == sums.hv_mse_zero
    assert (sums.hv_skill, sums.hv_magnitude) == (0.0, 0.0)
    assert sums.nt_accuracy == sums.nt_accuracy_majority == 6 / 8


def test_vectors_and_classes_outside_nuclei_do_not_count(truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    instances, classes, hv = truth
    outside = instances == 0
    astray = np.where(outside[:, None], np.nan, hv)

    sums = MapSums.of(instances > 0, astray, np.where(outside, 3, classes), instances, classes, hv)

    assert (sums.hv_mse, sums.nt_accuracy) == (0.0, 1.0)


def test_known_vectors_have_known_magnitude() -> None:
    hv = np.empty((1, 2, 1, 2))
    hv[0, :, 0, 0], hv[0, :, 0, 1] = (0.6, 0.8), (0.0, -0.5)
    ones = np.ones((1, 1, 2), np.int32)

    sums = MapSums.of(ones * 0.5, hv, ones, ones, ones, hv * 0)

    assert sums.hv_magnitude == pytest.approx(0.75)
    assert sums.hv_mse == pytest.approx((0.36 + 0.64 + 0.25) / 4)
    assert math.isnan(sums.hv_skill)
    assert sums.np_dice == 1.0  # a probability of exactly 0.5 is nuclear


def test_figures_without_nuclei_are_undefined() -> None:
    zero = np.zeros((1, 3, 3), np.int32)

    sums = MapSums.of(zero * 0.0, np.zeros((1, 2, 3, 3)), zero, zero, zero, np.zeros((1, 2, 3, 3)))

    assert {name for name in FIGURES if not math.isnan(sums.figure(name))} == {"np_dice_all_foreground"}
    assert all(math.isnan(MapSums.empty().figure(name)) for name in FIGURES)


def test_batches_add_up_to_the_whole(truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    instances, classes, hv = truth
    maps = (np.random.default_rng(1).random(SHAPE), hv * 0.5, classes, instances, classes, hv)

    parts = sum((MapSums.of(*(m[i : i + 1] for m in maps)) for i in range(2)), MapSums.empty())

    np.testing.assert_array_equal(parts.rows, MapSums.of(*maps).rows)
    assert parts.rows.shape == (2, len(COLUMNS))


def test_rows_can_be_resampled_for_an_interval(truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    instances, classes, hv = truth
    sums = MapSums.of(np.ones(SHAPE), hv * 0.5, classes, instances, classes, hv)

    interval = bootstrap(FIGURES["np_dice"], sums.rows, rng=np.random.default_rng(0))

    assert (interval.value, interval.n) == (sums.np_dice, 2)
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("n_tiles", [0, 300])
def test_batches_of_any_size_keep_a_row_for_each_tile(n_tiles: int) -> None:
    ones, hv = np.ones((n_tiles, 2, 2), np.uint8), np.zeros((n_tiles, 2, 2, 2), np.float32)

    sums = MapSums.of(ones.astype(np.float16), hv, ones * 5, ones, ones * 5, hv)

    assert sums.rows.shape == (n_tiles, len(COLUMNS))
    assert (sums.rows[:, COLUMNS.index("class_5_px")] == 4).all()


def test_maps_that_do_not_fit_are_refused_with_every_shape() -> None:
    ones, hv = np.ones((1, 3, 3), np.int32), np.zeros((1, 2, 3, 3))

    with pytest.raises(ContractError, match=r"nt \(1, 6, 3, 3\).*argmax"):
        MapSums.of(ones, hv, np.ones((1, 6, 3, 3), np.int32), ones, ones, hv)
