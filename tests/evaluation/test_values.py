import math
import time

import numpy as np
import pytest

from cellvit.evaluation.scoring import COLUMNS
from cellvit.evaluation.systems import system_values
from cellvit.evaluation.values import (
    class_confusion,
    differences,
    gaps,
    has_maps,
    majority_class,
    map_sums_of,
    map_values,
    metric_values,
    trivial_values,
    values_by_organ,
)
from cellvit.formats.documents import Value
from cellvit.formats.tile_table import TEXTS, TileScores
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


def test_published_metrics_are_means_over_tiles_then_organs_and_image_means_over_tiles(scored) -> None:
    found = metric_values(scored(ORGANS, bpq=[0.2, 0.4, 0.9, math.nan], mpq=[0.1, 0.3, 0.6, math.nan]))

    assert found["bpq"].value == pytest.approx((0.3 + 0.9) / 2)
    assert found["bpq_image"].value == pytest.approx(0.5)
    assert found["mpq"].value == pytest.approx((0.2 + 0.6) / 2)
    assert found["bpq"].n == found["bpq_image"].n == 3


def test_a_class_that_no_tile_has_is_undefined_with_n_zero(scored) -> None:
    found = metric_values(scored(ORGANS, pq_neoplastic=[0.5, 0.5, 0.7, math.nan]))

    assert found["pq_neoplastic"].value == pytest.approx(1.7 / 3)
    for name in ("pq_dead", "f1_dead"):
        assert math.isnan(found[name].value)
        assert found[name].n == 0


def test_pooled_pq_adds_counts_over_tiles_first(scored) -> None:
    tiles = scored(["Colon"] * 2, tp_neoplastic=[1, 1], iou_neoplastic=[0.8, 0.6], fp_dead=[1, 0])

    found = metric_values(tiles)["mpq_pooled"]

    assert (found.value, found.n) == (pytest.approx((0.7 + 0) / 2), 2)


def test_detection_counts_are_added_over_tiles(scored) -> None:
    tiles = scored(["Colon"] * 2, pairs_1_1=[2, 0], pairs_6_1=[1, 0], pairs_1_6=[0, 1], pairs_2_6=[0, 1])

    found = metric_values(tiles)

    assert found["detection_precision"].value == pytest.approx(2 / 3)
    assert found["detection_recall"].value == pytest.approx(2 / 4)
    assert found["f1_neoplastic"].value == pytest.approx(4 / (4 + 1 + 1))
    assert found["recall_inflammatory"].value == 0
    assert found["f1_inflammatory"].n == 1


def test_counts_of_nuclei_agree_by_class_and_over_all(scored) -> None:
    tiles = scored(["Colon"] * 3, n_true=[3, 5, 7], n_predicted=[4, 6, 8], tp_dead=[1, 2, 3], fp_dead=[1, 0, 2])

    found = metric_values(tiles)

    assert (found["count_bias"].value, found["count_limit"].value) == (1, 0)
    assert found["count_concordance"].value == pytest.approx(2 * 8 / 3 / (8 / 3 + 8 / 3 + 1))
    assert found["count_bias_dead"].value == 1
    assert found["count_limit_dead"].value == pytest.approx(1.96)  # differences of 1, 0 and 2
    assert math.isnan(found["count_concordance_epithelial"].value)  # never present, never predicted


def test_distances_of_outlines_are_means_over_matched_nuclei(scored) -> None:
    found = metric_values(scored(["Colon"] * 3, outlined=[1, 3, 0], boundary_um=[0.5, 0.9, 0], hausdorff_um=[1, 2, 0]))

    assert (found["boundary_um"].value, found["boundary_um"].n) == (pytest.approx(1.4 / 4), 2)
    assert found["hausdorff_um"].value == pytest.approx(3 / 4)


def test_calibration_of_classes_adds_the_gaps_of_tiles_before_their_size_is_taken(scored) -> None:
    tiles = scored(["Colon"] * 2, calibrated=[4, 6], calibration_14=[1.0, -0.5], calibration_3=[0, -0.25])

    found = metric_values(tiles)["class_calibration_error"]

    assert (found.value, found.n) == (pytest.approx((0.5 + 0.25) / 10), 2)
    assert "class_calibration_error" not in metric_values(scored(["Colon"], calibrated=[math.nan]))


def test_near_pairs_have_detection_metrics_and_a_confusion_of_their_own(scored) -> None:
    tiles = scored(["Colon"] * 2, near_pairs_1_2=[2, 1], near_pairs_6_1=[1, 0], near_pairs_3_6=[0, 4])

    confusion = class_confusion(tiles)

    assert metric_values(tiles)["detection_near_f1"].value == pytest.approx(2 * 3 / (2 * 3 + 1 + 4))
    assert (confusion[1][2], confusion[6][1], confusion[3][6]) == (3, 1, 4)
    assert sum(map(sum, confusion)) == 8


def test_gaps_have_no_interval_if_training_or_test_has_fewer_than_three_tiles() -> None:
    few, many = (
        sums(nuclear_px=[100.0] * n, np_predicted_px=[100.0] * n, np_shared_px=list(np.linspace(50, 90, n)))
        for n in (2, 9)
    )

    assert math.isnan(gaps(few, many, groups=None)["np_dice"].low)
    assert gaps(many, many, groups=None)["np_dice"].low < 0 < gaps(many, many, groups=None)["np_dice"].high


def test_intervals_contain_the_value_and_repeat(scored) -> None:
    tiles = scored(["Colon"] * 30, aji=np.random.default_rng(1).random(30))

    found = metric_values(tiles)["aji"]

    assert found.low < found.value < found.high
    assert found == metric_values(tiles)["aji"]


def test_without_tiles_every_metric_is_undefined(scored) -> None:
    assert all(math.isnan(value.value) and value.n == 0 for value in metric_values(scored([])).values())


def test_metrics_of_maps_exist_only_with_maps(scored) -> None:
    with_maps = scored(["Colon"], nuclear_px=[10], np_predicted_px=[10], np_shared_px=[5])
    without = scored(["Colon"], nuclear_px=[math.nan])

    assert metric_values(with_maps)["np_dice"].value == 0.5
    assert not has_maps(without)
    assert "np_dice" not in metric_values(without)
    assert set(map_values(MapSums.empty(), groups=None)) == {
        *("np_dice", "hv_mse", "hv_skill", "hv_angle", "hv_length", "nt_accuracy")
    }


def test_the_interval_of_the_majority_class_contains_its_value() -> None:
    one, other = [10, 0] * 20, [0, 10] * 20  # half of the tiles have one class, the other half another

    accuracy = trivial_values(sums(nuclear_px=[10] * 40, class_1_px=one, class_3_px=other), groups=None)

    assert accuracy["nt_accuracy"].value == 0.5
    assert accuracy["nt_accuracy"].low < 0.5 < accuracy["nt_accuracy"].high


def test_trivial_predictions_have_the_values_of_their_names() -> None:
    found = trivial_values(
        sums(pixels=[100, 100], nuclear_px=[20, 0], hv_true_square=[10, 0], class_1_px=[15, 0], class_3_px=[5, 0]),
        groups=None,
    )

    assert found["np_dice"].value == pytest.approx(2 * 20 / (20 + 200))
    assert found["hv_mse"].value == pytest.approx(10 / 40)
    assert found["nt_accuracy"].value == pytest.approx(0.75)
    assert majority_class(sums(class_1_px=[5, 1], class_3_px=[4, 4])) == 3


def test_gaps_are_relative_and_positive_if_the_test_is_worse() -> None:
    train = sums(nuclear_px=[100], np_predicted_px=[100], np_shared_px=[80], hv_square_error=[20], nt_correct_px=[90])
    test = sums(nuclear_px=[100], np_predicted_px=[100], np_shared_px=[60], hv_square_error=[30], nt_correct_px=[45])

    found = gaps(train, test, groups=None)

    assert {name: value.value for name, value in found.items()} == {
        "np_dice": pytest.approx(0.25),
        "hv_mse": pytest.approx(0.5),
        "nt_accuracy": pytest.approx(0.5),
    }
    assert found["np_dice"].n == 2
    assert math.isnan(gaps(MapSums.empty(), test, groups=None)["np_dice"].value)


def test_differences_pair_tiles_by_id_and_leave_out_undefined_tiles(scored) -> None:
    mine = scored(ORGANS, aji=[0.5, 0.6, 0.7, 0.8], bpq=[0.5, 0.5, 0.5, 0.9])
    other = scored(ORGANS, aji=[0.4, math.nan, 0.6, 0.7], bpq=[0.4, 0.4, 0.1, 0.1])

    found = differences(mine, {"classical": other.rows(np.array([2, 0, 1]))})

    assert found["aji_minus_classical"].value == pytest.approx(0.1)
    assert found["aji_minus_classical"].n == 2
    assert found["bpq_minus_classical"].value == pytest.approx((0.1 + 0.4) / 2)


def test_organs_have_their_own_values(scored) -> None:
    found = values_by_organ(scored(ORGANS, aji=[0.2, 0.4, 0.8, 0.8]))

    assert list(found) == ["Colon", "Stomach"]
    assert (found["Colon"]["aji"].value, found["Colon"]["aji"].n) == (pytest.approx(0.3), 2)


def test_system_values_hold_systems_organs_and_differences(scored) -> None:
    scores = {name: [0.5, 0.6, 0.7, 0.8] for name in ("aji", "bpq", "mpq")}
    own = scored(ORGANS, **scores, nuclear_px=[1, 1, 1, 1], pixels=[4, 4, 4, 4])

    found = system_values({"decoder": own, "classical": own}, "decoder")

    assert set(found.systems) == {"decoder", "classical", "trivial"}
    assert set(found.organs["Colon"]) == {"decoder", "classical"}
    assert set(found.differences) == {"aji_minus_classical", "bpq_minus_classical", "mpq_minus_classical"}
    assert all(value.value == 0 and math.isnan(value.low) for value in found.differences.values())  # no spread


def random_tiles(scored, tiles_each: int, *, patients: str, n_patients: int = 12) -> TileScores:
    """Tiles of random scores, `tiles_each` equal ones per patient, on which every value of a document is defined."""
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
    return scored(np.repeat(organs, tiles_each), patients=np.repeat(names, tiles_each).tolist(), **columns)


def every_value(tiles: TileScores) -> dict[str, Value]:
    """All defined values that documents have of a set of tiles, by unique names."""
    texts = {name: tiles.text(name) for name in TEXTS}
    worse = TileScores.of(texts, COLUMNS, 0.9 * tiles.block(COLUMNS))
    found, of_maps = system_values({"decoder": tiles, "classical": worse}, "decoder"), map_sums_of(tiles)
    parts = {
        **found.systems,
        "organ": found.organs["Colon"]["decoder"],
        "difference": found.differences,
        "train": map_values(of_maps, groups=tiles.groups),
        "gap": gaps(of_maps, of_maps, groups=groups_of(tiles.text("patient") * 2)),
    }
    named = {f"{part} {name}": value for part, values in parts.items() for name, value in values.items()}
    return {name: value for name, value in named.items() if not math.isnan(value.value)}


def test_patients_of_one_tile_each_have_the_intervals_of_tiles_bit_for_bit(scored) -> None:
    over_tiles = every_value(random_tiles(scored, 1, patients=""))
    over_patients = every_value(random_tiles(scored, 1, patients="z{0} comes before a{0}"))  # names are in no order

    compared = {name for name in over_tiles if not name.startswith("gap")}  # in gaps, train and test share patients
    assert len(compared) > 50
    assert [name for name in compared if repr(over_patients[name]) != repr(over_tiles[name])] == []  # NaN is not NaN


def test_every_interval_is_wider_if_the_tiles_of_a_patient_are_copies(scored) -> None:
    over_tiles = every_value(random_tiles(scored, 2, patients=""))
    over_patients = every_value(random_tiles(scored, 2, patients="p{}"))

    def width(value: Value) -> float:
        return value.high - value.low

    varied = [name for name, value in over_tiles.items() if width(value) > 1e-9]
    assert len(varied) > 50
    assert [
        name for name in varied if "gap" not in name and width(over_patients[name]) <= width(over_tiles[name])
    ] == []
    for name, value in over_patients.items():
        assert (value.value, value.n) == (pytest.approx(over_tiles[name].value), over_tiles[name].n)


def test_gaps_sample_the_patients_of_training_and_test_tiles() -> None:
    rng = np.random.default_rng(0)
    both = [
        sums(
            nuclear_px=[900] * 40,
            np_predicted_px=[900] * 40,
            np_shared_px=np.repeat(rng.integers(1, 900, 8), 5).tolist(),
        )
        for _ in range(2)
    ]

    over_tiles = gaps(*both, groups=None)["np_dice"]
    over_patients = gaps(*both, groups=np.repeat(np.arange(16), 5))["np_dice"]

    assert over_patients.n == over_tiles.n == 80
    assert over_patients.high - over_patients.low > 1.5 * (over_tiles.high - over_tiles.low)


def test_one_patient_gives_values_without_intervals(scored) -> None:
    found = every_value(random_tiles(scored, 2, patients="the only one"))

    assert found["decoder aji"].n == 24
    assert all(math.isnan(value.low) and math.isnan(value.high) for value in found.values())


def test_all_intervals_of_a_fold_by_patient_take_under_two_seconds(scored) -> None:
    rng = np.random.default_rng(0)
    patients = [f"TCGA-{number}" for number in rng.integers(0, 300, 2700)]
    tiles = scored(["Colon"] * 2700, patients=patients, bpq=rng.random(2700), tp_dead=rng.integers(0, 9, 2700))

    start = time.process_time()
    found = metric_values(tiles)
    seconds = time.process_time() - start

    assert found["bpq"].low < found["bpq"].value < found["bpq"].high
    assert seconds < 2
