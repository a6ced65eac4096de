import math

import numpy as np
import pytest

from cellvit.inference.evaluation import findings
from cellvit.inference.figures import (
    differences,
    figures,
    figures_by_organ,
    gaps,
    has_maps,
    majority_class,
    map_figures,
    trivial_figures,
)
from cellvit.inference.scoring import PAIR_COLUMNS
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.maps import MapSums

ORGANS = ["Colon", "Colon", "Stomach", "Stomach"]


def sums(**columns: list[float]) -> MapSums:
    n = len(next(iter(columns.values())))
    rows = np.zeros((n, len(MAP_COLUMNS)))
    for name, column in columns.items():
        rows[:, MAP_COLUMNS.index(name)] = column
    return MapSums(rows)


def test_published_figures_average_tiles_then_organs_and_image_means_tiles_alone(judged) -> None:
    tiles = judged(ORGANS, bpq=[0.2, 0.4, 0.9, math.nan], mpq=[0.1, 0.3, 0.6, math.nan])

    found = figures(tiles, seed=0)

    assert found["bpq"].value == pytest.approx((0.3 + 0.9) / 2)
    assert found["bpq_image"].value == pytest.approx(0.5)
    assert found["mpq"].value == pytest.approx((0.2 + 0.6) / 2)
    assert found["bpq"].n == found["bpq_image"].n == 3


def test_a_class_that_no_tile_has_is_undefined_with_n_zero(judged) -> None:
    found = figures(judged(ORGANS, pq_neoplastic=[0.5, 0.5, 0.7, math.nan]), seed=0)

    assert found["pq_neoplastic"].value == pytest.approx(1.7 / 3)
    assert math.isnan(found["pq_dead"].value)
    assert found["pq_dead"].n == 0
    assert math.isnan(found["f1_dead"].value)
    assert found["f1_dead"].n == 0


def test_pooled_pq_adds_counts_over_tiles_first(judged) -> None:
    tiles = judged(["Colon"] * 2, tp_neoplastic=[1, 1], iou_neoplastic=[0.8, 0.6], fp_dead=[1, 0])

    found = figures(tiles, seed=0)

    assert found["mpq_pooled"].value == pytest.approx((0.7 + 0) / 2)
    assert found["mpq_pooled"].n == 2


def test_detection_counts_add_over_tiles(judged) -> None:
    tiles = judged(["Colon"] * 2, pairs_1_1=[2, 0], pairs_6_1=[1, 0], pairs_1_6=[0, 1], pairs_2_6=[0, 1])

    found = figures(tiles, seed=0)

    assert found["detection_precision"].value == pytest.approx(2 / 3)
    assert found["detection_recall"].value == pytest.approx(2 / 4)
    assert found["f1_neoplastic"].value == pytest.approx(4 / (4 + 1 + 1))
    assert found["recall_inflammatory"].value == 0
    assert found["f1_inflammatory"].n == 1
    assert len(PAIR_COLUMNS) == 49


def test_intervals_hold_the_value_and_repeat_with_the_seed(judged) -> None:
    values = np.random.default_rng(1).random(30)
    tiles = judged(["Colon"] * 30, aji=values)

    found = figures(tiles, seed=7)["aji"]

    assert found.low < found.value < found.high
    assert found == figures(tiles, seed=7)["aji"]


def test_no_tiles_make_every_figure_undefined(judged) -> None:
    found = figures(judged([]), seed=0)

    assert all(math.isnan(figure.value) and figure.n == 0 for figure in found.values())


def test_figures_of_maps_stand_only_where_there_are_maps(judged) -> None:
    with_maps = judged(["Colon"], nuclear_px=[10], np_found_px=[10], np_shared_px=[5])
    without = judged(["Colon"], nuclear_px=[math.nan])

    assert figures(with_maps, seed=0)["np_dice"].value == 0.5
    assert not has_maps(without)
    assert "np_dice" not in figures(without, seed=0)


def test_trivial_answers_score_as_their_names_say() -> None:
    found = trivial_figures(
        sums(pixels=[100, 100], nuclear_px=[20, 0], hv_true_square=[10, 0], class_1_px=[15, 0], class_3_px=[5, 0]),
        seed=0,
    )

    assert found["np_dice"].value == pytest.approx(2 * 20 / (20 + 200))
    assert found["hv_mse"].value == pytest.approx(10 / 40)
    assert found["nt_accuracy"].value == pytest.approx(0.75)


def test_gaps_are_relative_and_positive_where_the_test_is_worse() -> None:
    train = sums(nuclear_px=[100], np_found_px=[100], np_shared_px=[80], hv_square_error=[20], nt_correct_px=[90])
    test = sums(nuclear_px=[100], np_found_px=[100], np_shared_px=[60], hv_square_error=[30], nt_correct_px=[45])

    found = gaps(train, test, seed=0)

    assert found["np_dice"].value == pytest.approx(0.25)
    assert found["hv_mse"].value == pytest.approx(0.5)
    assert found["nt_accuracy"].value == pytest.approx(0.5)
    assert found["np_dice"].n == 2


def test_a_gap_from_nothing_is_undefined() -> None:
    found = gaps(MapSums.empty(), sums(nuclear_px=[1], np_found_px=[1], np_shared_px=[1]), seed=0)

    assert math.isnan(found["np_dice"].value)


def test_differences_pair_tiles_by_id_and_leave_out_what_one_lacks(judged) -> None:
    mine = judged(ORGANS, aji=[0.5, 0.6, 0.7, 0.8], bpq=[0.5, 0.5, 0.5, 0.9])
    other = judged(ORGANS, aji=[0.4, math.nan, 0.6, 0.7], bpq=[0.4, 0.4, 0.1, 0.1])
    reversed_part = other.where(np.array([True, True, True, False]))

    found = differences(mine, {"classical": reversed_part}, seed=0)

    assert found["aji_minus_classical"].value == pytest.approx(0.1)
    assert found["aji_minus_classical"].n == 2
    assert found["bpq_minus_classical"].value == pytest.approx((0.1 + 0.4) / 2)


def test_a_system_does_not_differ_from_itself(judged) -> None:
    tiles = judged(ORGANS, aji=[0.5, 0.6, 0.7, 0.8], bpq=[0.5, 0.5, 0.5, 0.9], mpq=[0.2, 0.3, 0.4, 0.5])

    found = differences(tiles, {"pooled": tiles}, seed=0)

    assert all((figure.value, figure.low, figure.high) == (0, 0, 0) for figure in found.values())


def test_organs_have_their_own_figures(judged) -> None:
    found = figures_by_organ(judged(ORGANS, aji=[0.2, 0.4, 0.8, 0.8]), seed=0)

    assert list(found) == ["Colon", "Stomach"]
    assert found["Colon"]["aji"].value == pytest.approx(0.3)
    assert found["Colon"]["aji"].n == 2


def test_findings_hold_systems_organs_and_differences(judged) -> None:
    own = judged(ORGANS, aji=[0.5, 0.6, 0.7, 0.8], nuclear_px=[1, 1, 1, 1], pixels=[4, 4, 4, 4])

    found = findings({"decoder": own, "classical": own}, "decoder", seed=0)

    assert set(found.systems) == {"decoder", "classical", "trivial"}
    assert set(found.organs["Colon"]) == {"decoder", "classical"}
    assert set(found.differences) == {"aji_minus_classical", "bpq_minus_classical", "mpq_minus_classical"}


def test_the_majority_class_has_the_most_nuclear_pixels() -> None:
    assert majority_class(sums(class_1_px=[5, 1], class_3_px=[4, 4])) == 3


def test_map_figures_are_the_five_of_the_summary() -> None:
    assert set(map_figures(MapSums.empty(), seed=0)) == {"np_dice", "hv_mse", "hv_skill", "hv_magnitude", "nt_accuracy"}
