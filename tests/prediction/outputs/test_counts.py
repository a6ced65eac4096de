"""Counts with intervals, and counts.csv."""

import csv
import math
from pathlib import Path

import numpy as np
from predicted import predicted, square_nuclei

from cellvit.formats.calibration import CountBound
from cellvit.prediction.outputs.counts import class_counts, write_counts

N_OF = {"Neoplastic": 30, "Dead": 9}


def bounds(**share_of: float) -> list[CountBound]:
    return [CountBound(class_name=name, share=share, n_units=20) for name, share in share_of.items()]


def test_the_total_comes_first_and_intervals_grow_with_the_count() -> None:
    total, neoplastic, dead = class_counts(N_OF, [bounds(all=0.1, Neoplastic=0.2, Dead=2.0)], area_mm2=3.0)

    assert (total.class_name, total.n, total.low, total.high, total.per_mm2) == ("all", 39, 35.0, 43.0, 13.0)
    assert (neoplastic.n, round(neoplastic.low, 6), round(neoplastic.high, 6)) == (30, 23.8, 36.2)
    assert (dead.low, dead.high) == (0.0, 29.0)


def test_of_several_models_the_widest_interval_counts() -> None:
    models = [bounds(all=0.1, Neoplastic=0.5), bounds(all=0.2, Neoplastic=0.1)]

    total, neoplastic, dead = class_counts(N_OF, models, area_mm2=1.0)

    assert (total.high, neoplastic.high) == (47.0, 45.5)
    assert math.isnan(dead.low)
    assert math.isnan(dead.high)


def test_there_is_no_interval_if_a_model_has_none() -> None:
    counts = class_counts(N_OF, [bounds(all=0.1), []], area_mm2=1.0)

    assert all(math.isnan(count.low) and math.isnan(count.high) for count in counts)


def test_a_class_named_all_has_a_bound_of_its_own() -> None:
    own = [*bounds(all=0.5), *bounds(all=0.1)]

    total, of_class = class_counts({"all": 9}, [own], area_mm2=1.0)

    assert (total.high, of_class.high) == (14.0, 10.0)


def test_density_is_undefined_without_area() -> None:
    assert all(math.isnan(count.per_mm2) for count in class_counts(N_OF, [], area_mm2=0.0))


def test_counts_csv_has_densities_and_says_what_the_licence_means(tmp_path: Path) -> None:
    image = predicted([square_nuclei(np.array([[20, 20], [60, 20]]), [1, 4])], np.zeros((80, 80, 3), np.uint8))

    write_counts(tmp_path / "counts.csv", image.run)

    rows = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == ["all", *image.data_set.class_names[1:]]
    total = rows[0]
    assert (total["n"], total["low"], total["high"], total["level"], total["unit"]) == (
        "2",
        "1.25",
        "2.75",
        "0.9",
        "patient",
    )
    assert (total["mm2"], total["per_mm2"], total["per_mm2_high"]) == ("0.0004", "5000.0", "6875.0")
    assert all("CC BY-NC-SA 4.0" in row["licence"] for row in rows)


def test_counts_without_intervals_have_empty_cells(tmp_path: Path) -> None:
    counts = class_counts(
        dict.fromkeys(("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial"), 0), [], area_mm2=1.0
    )
    image = predicted([], np.zeros((80, 80, 3), np.uint8), counts=counts, count_unit="none")

    write_counts(tmp_path / "counts.csv", image.run)

    row = next(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    assert [row[name] for name in ("low", "high", "level", "unit", "per_mm2_low")] == [""] * 5
