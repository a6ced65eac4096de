"""Paired differences of two runs, what counts as clear, and the spread between seeds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_runs import scores, write_run

from cellvit.errors import ContractError, IntegrityError, MissingInputError, StaleFileError
from cellvit.evaluation.comparison import Measured, compare, measured, outcomes_of
from cellvit.evaluation.finished_run import read_run, scores_of
from cellvit.formats.content import content_of
from cellvit.formats.documents import read_document, write_document
from cellvit.formats.evaluations import FamilyEvaluation
from cellvit.metrics.intervals import Interval, interval_of_mean
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS

NAN = math.nan
PATIENTS = ("p1", "p1", "p2", "p3")
FIRST = {"decoder": scores(PATIENTS, aji=(0.4, 0.6, 0.5, 0.7)), "classical": scores(PATIENTS, aji=(0.3, 0.3, 0.3, 0.3))}
SECOND = {**FIRST, "decoder": scores(PATIENTS, aji=(0.5, 0.701, 0.601, 0.799))}


def measured_on(value: float, units: int) -> Measured:
    """A difference with an interval of 0.02 to either side."""
    return Measured(0.5, 0.5 + value, Interval(value, value - 0.02, value + 0.02, 9, units), equal=False)


def test_differences_are_paired_by_tile_and_sampled_over_patients_as_by_hand() -> None:
    a = scores(PATIENTS, aji=(0.25, 0.75, 0.5, NAN))
    b = scores(PATIENTS, aji=(0.5, 0.75, 0.25, 0.9))

    one = measured(a, b)["aji"]
    by_tile = np.array([0.25, 0.0, -0.25, NAN])

    assert (one.a, one.b) == (0.5, 0.5), "the fourth tile is undefined in A, and left out of both"
    assert one.difference.value == pytest.approx(0.0)
    assert (one.difference.n, one.difference.units) == (3, 2)
    assert math.isnan(one.difference.low), "two patients define it, which is too few for an interval"
    assert str(one.difference) == str(interval_of_mean(by_tile, scale="real", groups=a.groups))


def test_bpq_is_a_mean_over_organs_and_detection_adds_counts_first() -> None:
    organs = ("Colon", "Colon", "Colon", "Stomach")
    a = scores((), organs, bpq=(0.5, 0.5, 0.5, 0.25), tp=(8, 0, 0, 2), fn=(0, 2, 2, 2))
    b = scores((), organs, bpq=(0.5, 0.5, 0.5, 0.75), tp=(8, 2, 2, 4), fn=(0, 0, 0, 0))

    found = measured(a, b)

    assert found["bpq"].difference.value == 0.25, "one organ of two rises by .5"
    assert found["detection_f1"].a == pytest.approx(2 * 10 / (2 * 10 + 6))
    assert found["detection_f1"].difference.value == pytest.approx(1 - 20 / 26)
    assert found["detection_f1"].difference.units == 4, "tiles, because no patient is known"
    assert "hv_skill" not in found, "the runs have no maps here"


def test_maps_are_compared_where_both_runs_have_them() -> None:
    patients, ones = ("p1", "p2", "p3"), dict.fromkeys(MAP_COLUMNS, (1.0, 1.0, 1.0))
    sums = ones | {"hv_true_square": (4.0, 4.0, 4.0)}
    a, b = (scores(patients, **sums | {"hv_square_error": error}) for error in ((2.0, 2.0, 2.0), (1.0, 3.0, 2.0)))

    found = measured(a, b)["hv_skill"]

    assert (found.a, found.b) == (0.5, 0.5)
    assert found.difference.low == pytest.approx(-found.difference.high)
    assert found.difference.high > 0.25


@pytest.mark.parametrize(
    ("difference", "units", "others", "outcome"),
    [
        pytest.param(0.05, 100, 0, "higher in B", id="one_comparison"),
        pytest.param(-0.05, 100, 0, "lower in B", id="negative"),
        pytest.param(0.021, 1000, 0, "higher in B", id="just_outside_the_interval"),
        pytest.param(0.021, 1000, 20, "not clear", id="many_comparisons_demand_more"),
        pytest.param(0.019, 1000, 0, "not clear", id="just_inside_the_interval"),
        pytest.param(NAN, 100, 0, "undefined", id="undefined"),
    ],
)
def test_a_difference_is_clear_given_the_number_of_comparisons(
    difference: float, units: int, others: int, outcome: str
) -> None:
    judged = outcomes_of([measured_on(difference, units)] + [measured_on(0.001, units)] * others)

    assert judged == (outcome, *["not clear"] * others)


def test_two_patients_are_never_clear() -> None:
    interval = interval_of_mean(np.array([0.5, 0.51]), scale="real")

    assert outcomes_of([Measured(0.1, 0.6, interval, equal=False)]) == ("not clear",)


def test_chance_alone_is_rarely_called_clear() -> None:
    """In 20 comparisons of pure noise over 8 patients, all of them are not clear in at least 9 of 10 repetitions."""
    rng = np.random.default_rng(0)

    def noise() -> Measured:
        interval = interval_of_mean(rng.normal(0, 0.1, 8), scale="real")
        return Measured(0.5, 0.5 + interval.value, interval, equal=False)

    wrong = sum(set(outcomes_of([noise() for _ in range(20)])) != {"not clear"} for _ in range(40))

    assert wrong <= 4


def test_every_system_that_both_runs_have_is_compared_and_equal_scores_are_not_counted(tmp_path: Path) -> None:
    a = read_run(write_run(tmp_path / "a", FIRST))
    b = read_run(write_run(tmp_path / "b", SECOND, settings={"training": {"shared_decoder": False, "warmup": 0.1}}))

    found = compare(a, b)
    rows = {(row.family, row.system, row.metric): row for row in found.rows}

    assert found.settings == {"training.warmup": ("0.05", "0.1")}
    assert rows["digestive", "decoder", "aji"].difference == pytest.approx(0.1, abs=0.001)
    assert rows["digestive", "decoder", "aji"].units == 3
    assert rows["organ_predicted", "decoder", "aji"].outcome == "higher in B"
    assert rows["digestive", "classical", "aji"].outcome == "equal"
    assert rows["digestive", "decoder", "bpq"].outcome == "undefined"
    assert found.n_comparisons == 2, "AJI of the family's decoder and with the organ predicted"


def test_what_one_run_alone_has_scored_is_named(tmp_path: Path) -> None:
    fewer = {"decoder": FIRST["decoder"].rows(np.array([0, 2]))}
    a, b = read_run(write_run(tmp_path / "a", FIRST)), read_run(write_run(tmp_path / "b", fewer))

    found = compare(a, b)

    assert "split 1, digestive, classical: only run A has it" in found.notes
    line = "split 1, digestive, decoder: compared on the 2 tiles that both have; run A has scored 4, run B 2"
    assert line in found.notes
    assert {row.n for row in found.rows if row.metric == "aji"} == {2}


def test_runs_on_other_tiles_are_refused_with_the_tiles_that_differ(tmp_path: Path) -> None:
    other = {"decoder": scores(PATIENTS, aji=(0.5, 0.7, 0.6, 0.8), n_true=(5, 5, 6, 5))}
    a = read_run(write_run(tmp_path / "a", FIRST))
    counts = read_run(write_run(tmp_path / "b", other, tiles={"fold3": "b" * 64}))
    pixels = read_run(write_run(tmp_path / "c", FIRST, tiles={"fold3": "c" * 64}))

    with pytest.raises(ContractError, match=r"split 1, fold3: other tiles, .*numbers of nuclei: f3-00002\n"):
        compare(a, counts)
    with pytest.raises(ContractError, match=r"split 1, fold3: the tiles have the same ids, .*other images, contours"):
        compare(a, pixels)


def test_a_file_of_another_run_than_the_report_is_refused(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", FIRST), write_run(tmp_path / "b", SECOND)
    document = read_document(b / "evaluation/split1/digestive.json", FamilyEvaluation)
    write_document(b / "evaluation/split1/digestive.json", document.model_copy(update={"n_tiles": 5}))

    with pytest.raises(StaleFileError, match="the report of this run was built from another version of this file"):
        compare(read_run(a), read_run(b))


def test_the_evaluation_of_another_family_is_refused(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", FIRST))
    path = run.folder / "evaluation/split1/digestive.json"
    document = read_document(path, FamilyEvaluation).model_copy(update={"family": "glandular"})
    write_document(path, document)
    name = "../evaluation/split1/digestive.json"
    exchanged = run.provenance.model_copy(
        update={"made_from": {**run.provenance.made_from, name: content_of(path).digest}}
    )

    with pytest.raises(StaleFileError, match="the file belongs to another split or family"):
        scores_of(replace(run, provenance=exchanged))


def test_a_changed_table_and_a_missing_report_are_refused(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", FIRST), write_run(tmp_path / "b", SECOND)
    table = b / "evaluation/split1/digestive_tiles.csv"
    table.write_text(table.read_text().replace("0.799", "0.9"))

    with pytest.raises(IntegrityError, match=r"digestive_tiles\.csv: the table was changed"):
        compare(read_run(a), read_run(b))
    with pytest.raises(MissingInputError, match=r"report/index\.html"):
        read_run(tmp_path / "nowhere")
