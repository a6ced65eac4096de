import math

import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.intervals import interval_of_sums
from cellvit.metrics.maps import COLUMNS, METRICS, MapSums

SHAPE = (2, 4, 6)
Truth = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def truth() -> Truth:
    """Instances, classes and HV of two tiles with 8 nuclear pixels, 6 of class 2."""
    instances = np.zeros(SHAPE, np.int32)
    instances[0, 1:3, 1:4], instances[1, 0, 0:2] = 1, 4
    classes = np.where(instances == 1, 2, np.where(instances == 4, 5, 0)).astype(np.uint8)
    hv = np.random.default_rng(0).uniform(-1, 1, (2, 2, 4, 6)).astype(np.float32) * (instances > 0)[:, None]
    return instances, classes, hv


def values(sums: MapSums, *names: str) -> list[float]:
    return [sums.value(name) for name in names]


def test_perfect_maps_score_perfectly_whatever_hv_and_nt_are_outside_nuclei(truth: Truth) -> None:
    instances, classes, hv = truth
    outside = instances == 0

    sums = MapSums.of(
        (instances > 0).astype(np.float32),
        np.where(outside[:, None], np.nan, hv),
        np.where(outside, 3, classes),
        *truth,
    )

    assert values(sums, "np_dice", "hv_mse", "hv_skill", "nt_accuracy") == [1.0, 0.0, 1.0, 1.0]
    assert sums.value("hv_length") == sums.value("hv_length_true")


def test_trivial_predictions_score_exactly_the_baselines(truth: Truth) -> None:
    sums = MapSums.of(np.ones(SHAPE), np.zeros_like(truth[2]), np.full(SHAPE, 2), *truth)

    assert values(sums, "np_dice", "np_dice_all_foreground") == [2 * 8 / (8 + 48)] * 2
    assert sums.value("hv_mse") == sums.value("hv_mse_zero")
    assert values(sums, "hv_skill", "hv_length", "hv_angle") == [0.0, 0.0, 90.0]
    assert values(sums, "nt_accuracy", "nt_accuracy_majority") == [6 / 8] * 2


def test_the_angle_error_ignores_the_scale_of_hv_and_sees_its_direction(truth: Truth) -> None:
    instances, classes, hv = truth
    scaled, turned, opposite = (
        MapSums.of(instances > 0, predicted, classes, *truth)
        for predicted in (0.1 * hv, np.stack([-hv[:, 1], hv[:, 0]], axis=1), -hv)
    )

    angles = [sums.value("hv_angle") for sums in (scaled, turned, opposite)]

    assert angles == pytest.approx([0, 90, 180], abs=1e-3)
    assert scaled.value("hv_length") == pytest.approx(0.1 * scaled.value("hv_length_true"))


def test_a_probability_of_exactly_a_half_is_nuclear_and_hv_skill_without_true_hv_is_undefined() -> None:
    ones, hv = np.ones((1, 1, 2), np.int32), np.ones((1, 2, 1, 2))

    sums = MapSums.of(ones * 0.5, hv, ones, ones, ones, hv * 0)

    assert sums.value("np_dice") == 1.0
    assert math.isnan(sums.value("hv_skill"))


def test_metrics_without_nuclei_are_undefined() -> None:
    zero = np.zeros((1, 3, 3), np.int32)

    sums = MapSums.of(zero * 0.0, np.zeros((1, 2, 3, 3)), zero, zero, zero, np.zeros((1, 2, 3, 3)))

    assert {name for name in METRICS if not math.isnan(sums.value(name))} == {"np_dice_all_foreground"}
    assert all(math.isnan(MapSums.empty().value(name)) for name in METRICS)


def test_rows_of_tiles_do_not_depend_on_the_batch_and_have_intervals(truth: Truth) -> None:
    maps = (np.random.default_rng(1).random(SHAPE), truth[2] * 0.5, truth[1], *truth)

    whole, parts = MapSums.of(*maps), [MapSums.of(*(m[i : i + 1] for m in maps)).rows for i in range(2)]
    interval = interval_of_sums(METRICS["np_dice"], np.concatenate([whole.rows, whole.rows]))

    np.testing.assert_array_equal(np.concatenate(parts), whole.rows)
    assert (interval.value, interval.n) == (pytest.approx(whole.value("np_dice")), 4)
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("n_tiles", [0, 300])
def test_batches_of_any_size_give_one_row_per_tile(n_tiles: int) -> None:
    ones, hv = np.ones((n_tiles, 2, 2), np.uint8), np.zeros((n_tiles, 2, 2, 2), np.float32)

    sums = MapSums.of(ones.astype(np.float16), hv, ones * 5, ones, ones * 5, hv)

    assert sums.rows.shape == (n_tiles, len(COLUMNS))
    assert (sums.rows[:, COLUMNS.index("class_5_px")] == 4).all()


def test_maps_that_do_not_match_are_refused_with_every_shape() -> None:
    ones, hv = np.ones((1, 3, 3), np.int32), np.zeros((1, 2, 3, 3))

    with pytest.raises(ContractError, match=r"nt \(1, 6, 3, 3\).*argmax"):
        MapSums.of(ones, hv, np.ones((1, 6, 3, 3), np.int32), ones, ones, hv)
