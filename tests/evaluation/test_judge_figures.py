import dataclasses
import math
import time

import numpy as np
import pytest

from cellvit.evaluation.scoring import PAIR_COLUMNS
from cellvit.evaluation.systems import findings
from cellvit.evaluation.values import (
    differences,
    figures,
    values_by_organ,
    gaps,
    has_maps,
    majority_class,
    map_values,
    trivial_values,
)
from cellvit.formats.documents import Value
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import groups_of
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
    with_maps = judged(["Colon"], nuclear_px=[10], np_predicted_px=[10], np_shared_px=[5])
    without = judged(["Colon"], nuclear_px=[math.nan])

    assert figures(with_maps, seed=0)["np_dice"].value == 0.5
    assert not has_maps(without)
    assert "np_dice" not in figures(without, seed=0)


def test_interval_of_the_majority_class_holds_its_value() -> None:
    rows = np.zeros((40, len(MAP_COLUMNS)))
    rows[:, MAP_COLUMNS.index("nuclear_px")] = 10
    rows[::2, MAP_COLUMNS.index("class_1_px")] = 10  # in half of the tiles one class, in the other half another
    rows[1::2, MAP_COLUMNS.index("class_3_px")] = 10

    accuracy = trivial_values(MapSums(rows), seed=0, groups=None)["nt_accuracy"]

    assert accuracy.value == 0.5
    assert accuracy.low < 0.5 < accuracy.high


def test_trivial_answers_score_as_their_names_say() -> None:
    found = trivial_values(
        sums(pixels=[100, 100], nuclear_px=[20, 0], hv_true_square=[10, 0], class_1_px=[15, 0], class_3_px=[5, 0]),
        seed=0,
        groups=None,
    )

    assert found["np_dice"].value == pytest.approx(2 * 20 / (20 + 200))
    assert found["hv_mse"].value == pytest.approx(10 / 40)
    assert found["nt_accuracy"].value == pytest.approx(0.75)


def test_gaps_are_relative_and_positive_where_the_test_is_worse() -> None:
    train = sums(nuclear_px=[100], np_predicted_px=[100], np_shared_px=[80], hv_square_error=[20], nt_correct_px=[90])
    test = sums(nuclear_px=[100], np_predicted_px=[100], np_shared_px=[60], hv_square_error=[30], nt_correct_px=[45])

    found = gaps(train, test, seed=0, groups=None)

    assert found["np_dice"].value == pytest.approx(0.25)
    assert found["hv_mse"].value == pytest.approx(0.5)
    assert found["nt_accuracy"].value == pytest.approx(0.5)
    assert found["np_dice"].n == 2


def test_a_gap_from_nothing_is_undefined() -> None:
    found = gaps(MapSums.empty(), sums(nuclear_px=[1], np_predicted_px=[1], np_shared_px=[1]), seed=0, groups=None)

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
    found = values_by_organ(judged(ORGANS, aji=[0.2, 0.4, 0.8, 0.8]), seed=0)

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
    found = map_values(MapSums.empty(), seed=0, groups=None)

    assert set(found) == {"np_dice", "hv_mse", "hv_skill", "hv_length", "nt_accuracy"}


def measured(judged, tiles_each: int, *, patients: str, n_patients: int = 12) -> TileScores:
    """Tiles of random figures, `tiles_each` equal ones a patient: all that a document has figures of is defined."""
    rng, organs = np.random.default_rng(5), ["Colon", "Stomach", "Liver"] * (n_patients // 3)
    scores = {name: rng.random(n_patients) for name in ("aji", "dice", "pq", "bpq", "mpq", "mpq_strict")}
    counts = {name: rng.integers(1, 50, n_patients) for name in ("tp_neoplastic", "fn_neoplastic", "fp_neoplastic")}
    counts |= {name: rng.integers(1, 50, n_patients) for name in ("pairs_1_1", "pairs_6_1", "pairs_1_6")}
    counts |= {"iou_neoplastic": 0.8 * counts["tp_neoplastic"], "pixels": np.full(n_patients, 5000)}
    counts |= {name: rng.integers(500, 1000, n_patients) for name in ("nuclear_px", "np_predicted_px", "class_1_px")}
    counts |= {name: rng.integers(1, 500, n_patients) for name in ("np_shared_px", "nt_correct_px", "class_2_px")}
    counts |= {name: rng.integers(1, 500, n_patients) for name in ("hv_square_error", "hv_true_square", "hv_length")}
    columns = {name: np.repeat(column, tiles_each) for name, column in (scores | counts).items()}
    names = [patients.format(patient) if patients else "" for patient in range(n_patients)]
    return judged(np.repeat(organs, tiles_each), patients=np.repeat(names, tiles_each).tolist(), **columns)


def every_figure(tiles: TileScores) -> dict[str, Value]:
    """All figures that documents have of a set of tiles, by a name of their own."""
    worse = dataclasses.replace(tiles, values=0.9 * tiles.values)
    found = findings({"decoder": tiles, "classical": worse}, "decoder", seed=0)
    sums = MapSums(tiles.block(MAP_COLUMNS))
    both = groups_of(tiles.patient + tiles.patient)
    named = {f"{system} {name}": figure for system, of in found.systems.items() for name, figure in of.items()}
    named |= {f"organ {name}": figure for name, figure in found.organs["Colon"]["decoder"].items()}
    named |= found.differences
    named |= {f"train {name}": figure for name, figure in map_values(sums, seed=0, groups=tiles.groups).items()}
    return named | {f"gap {name}": figure for name, figure in gaps(sums, sums, seed=0, groups=both).items()}


def defined(found: dict[str, Value]) -> dict[str, Value]:
    return {name: figure for name, figure in found.items() if not math.isnan(figure.value)}


def test_patients_of_one_tile_each_have_the_intervals_of_tiles_bit_for_bit(judged) -> None:
    over_tiles = defined(every_figure(measured(judged, 1, patients="")))
    names = measured(judged, 1, patients="z{0} comes before a{0}")  # names are in no order
    over_patients = defined(every_figure(names))

    gap_free = {name for name in over_tiles if not name.startswith("gap")}  # in gaps, train and test share patients
    assert len(gap_free) > 50
    assert {name: over_patients[name] for name in gap_free} == {name: over_tiles[name] for name in gap_free}


def test_every_interval_is_wider_where_the_tiles_of_a_patient_are_copies(judged) -> None:
    over_tiles = defined(every_figure(measured(judged, 2, patients="")))
    over_patients = defined(every_figure(measured(judged, 2, patients="p{}")))

    def width(figure: Value) -> float:
        return figure.high - figure.low

    varied = [name for name, figure in over_tiles.items() if width(figure) > 1e-9]
    assert len(varied) > 50
    assert [
        name for name in varied if "gap" not in name and width(over_patients[name]) <= width(over_tiles[name])
    ] == []
    for name, figure in over_patients.items():
        assert (figure.value, figure.n) == (pytest.approx(over_tiles[name].value), over_tiles[name].n)


def test_gaps_draw_the_patients_of_training_and_test_tiles(judged) -> None:
    rng = np.random.default_rng(0)
    sums_of = [
        sums(
            nuclear_px=[900] * 40,
            np_predicted_px=[900] * 40,
            np_shared_px=np.repeat(rng.integers(1, 900, 8), 5).tolist(),
        )
        for _ in range(2)
    ]

    over_tiles = gaps(*sums_of, seed=0, groups=None)["np_dice"]
    over_patients = gaps(*sums_of, seed=0, groups=np.repeat(np.arange(16), 5))["np_dice"]

    assert over_patients.n == over_tiles.n == 80
    assert over_patients.high - over_patients.low > 1.5 * (over_tiles.high - over_tiles.low)


def test_one_patient_gives_values_without_intervals(judged) -> None:
    tiles = measured(judged, 2, patients="the only one")

    found = defined(every_figure(tiles))

    assert found["decoder aji"].n == 24
    assert all(math.isnan(figure.low) and math.isnan(figure.high) for figure in found.values())


def test_every_interval_of_a_fold_by_patient_takes_under_two_seconds(judged) -> None:
    rng = np.random.default_rng(0)
    patients = [f"TCGA-{number}" for number in rng.integers(0, 300, 2700)]
    tiles = judged(["Colon"] * 2700, patients=patients, bpq=rng.random(2700), tp_dead=rng.integers(0, 9, 2700))

    start = time.process_time()
    found = figures(tiles, seed=0)
    seconds = time.process_time() - start

    assert found["bpq"].low < found["bpq"].value < found["bpq"].high
    assert seconds < 2  # all intervals together
