import math

import pytest

from cellvit.config.evaluation import QualityGates
from cellvit.evaluation.advice import advice_by_fix
from cellvit.evaluation.grading import grade_counts, grade_of, graded
from cellvit.evaluation.summary import summary_rows
from cellvit.evaluation.summary_table import summary_text
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import Value
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryRow

GATES = QualityGates()


def rows(**values: float) -> dict[str, SummaryRow]:
    """Rows by metric; two underscores stand for the dot before a system."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return {name: SummaryRow("1", "digestive", name, value, *[math.nan] * 4, 9, 0) for name, value in named.items()}


@pytest.mark.parametrize(
    ("metric", "value", "grade"),
    [
        ("hv_length", 0.41, "pass"),
        ("hv_length", 0.40, "partial"),
        ("hv_length", 0.20, "fail"),
        ("hv_mse", 0.29, "pass"),
        ("hv_mse", 0.30, "fail"),
        ("hv_skill", 0.0, "fail"),
        ("hv_angle", 29.0, "pass"),
        ("hv_angle", 30.0, "partial"),
        ("hv_angle", 45.0, "fail"),
        ("gap_hv_mse", 0.19, "pass"),
        ("gap_np_dice", 0.03, "fail"),
        ("aji", math.nan, "undefined"),
        ("organ_accuracy", 0.92, "pass"),
        ("organ_accuracy", 0.88, "partial"),
        ("organ_accuracy", 0.85, "fail"),
        ("mpq", 0.5, ""),
        ("aji.classical", 0.9, ""),
    ],
)
def test_grades_follow_the_gates(metric: str, value: float, grade: str) -> None:
    assert grade_of(metric, rows(**{metric.replace(".", "__"): value}), GATES) == grade


@pytest.mark.parametrize(
    ("values", "metric", "grade"),
    [
        pytest.param({"np_dice": 0.96, "np_dice__trivial": 0.967}, "np_dice", "fail", id="all_foreground"),
        pytest.param({"nt_accuracy": 0.95, "nt_accuracy__trivial": 0.95}, "nt_accuracy", "fail", id="equal"),
        pytest.param({"nt_accuracy": 0.9, "nt_accuracy__trivial": 0.6}, "nt_accuracy", "pass", id="no_gate_but_beaten"),
        pytest.param({"nt_accuracy": 0.9, "nt_accuracy__trivial": 1.0}, "nt_accuracy", "", id="one_class"),
        pytest.param(
            {"gap_nt_accuracy": 0.9, "nt_accuracy__trivial": 1.0}, "gap_nt_accuracy", "", id="gap_of_one_class"
        ),
        pytest.param({"organ_accuracy": 1.0, "organ_accuracy__trivial": 1.0}, "organ_accuracy", "", id="one_organ"),
        pytest.param({"aji": 0.6, "aji__classical": 0.61}, "aji", "fail", id="classical"),
        pytest.param({"bpq": 0.4, "bpq__classical": 0.3}, "bpq", "pass", id="bpq"),
        pytest.param({"hv_mse": 0.26, "hv_mse__trivial": 0.25}, "hv_mse", "fail", id="hv_of_zero"),
        pytest.param({"aji": 0.6, "aji__classical": math.nan}, "aji", "pass", id="undefined_baseline"),
    ],
)
def test_a_value_that_is_not_better_than_its_baseline_fails(values, metric, grade) -> None:
    assert grade_of(metric, rows(**values), GATES) == grade


def test_results_with_the_same_advice_are_grouped_and_means_are_left_out() -> None:
    failed = graded(rows(aji=0.1, bpq=0.1, bpq__classical=0.2), GATES)
    low_dice = graded(rows(np_dice=0.5), GATES)

    grouped = advice_by_fix({("1", "a"): low_dice, ("1", "b"): failed, ("mean", "b"): failed})

    separated, weak = grouped
    assert separated.startswith("nuclei are not separated well")
    assert weak == "NP is weak: raise training.loss.np_weight from 1 to 1.5"
    assert [line.split(" fail")[0] for line in grouped[separated]] == ["split 1, b: aji 0.100", "split 1, b: bpq 0.100"]
    assert grade_counts({("1", "b"): failed, ("mean", "b"): failed}) == {
        "pass": 0,
        "partial": 0,
        "fail": 2,
        "undefined": 0,
    }


def family(split: str, *, aji: float = 0.6, name: str = "digestive", **changes) -> FamilyEvaluation:
    evaluated = {
        "status": "evaluated",
        "systems": {
            "classical": {"aji": Value(value=0.3, low=0.2, high=0.4, n=9)},
            "decoder": {"aji": Value(value=aji, low=aji - 0.1, high=aji + 0.1, n=9)},
        },
        "gaps": {"np_dice": Value(value=0.01, n=18)},
        "train": {"np_dice": Value(value=0.8, n=9)},
        "differences": {"aji_minus_classical": Value(value=aji - 0.3, n=9)},
    }
    return FamilyEvaluation(
        provenance=Provenance(data_set=PANNUKE), split=split, family=name, n_tiles=9, **{**evaluated, **changes}
    )


def absent(split: str) -> FamilyEvaluation:
    return family(split, status="absent", reason="no tiles", systems={}, gaps={}, train={}, differences={})


def overall(split: str) -> RoutedEvaluation:
    systems = {
        "organ_predicted": {"aji": Value(value=0.5, low=0.45, high=0.55, n=20), "bpq": Value(value=0.4, n=20)},
        "organ_given": {"aji": Value(value=0.55, n=20)},
        "upper_bound": {"aji": Value(value=0.95, n=20)},
    }
    organ_head = {"accuracy": Value(value=0.995, n=20), "routing_accuracy": Value(value=0.999, n=20)}
    return RoutedEvaluation(
        provenance=Provenance(data_set=PANNUKE),
        split=split,
        status="evaluated",
        n_tiles=20,
        systems=systems,
        organ_head=organ_head,
    )


def head(split: str, **changes) -> OrganHeadEvaluation:
    values = {"accuracy": Value(value=0.995, n=20), "accuracy_majority": Value(value=0.4, n=20)}
    evaluated = {"status": "evaluated", "values": values}
    return OrganHeadEvaluation(
        provenance=Provenance(data_set=PANNUKE), split=split, n_tiles=20, **{**evaluated, **changes}
    )


def test_other_systems_carry_a_suffix_and_gaps_a_prefix() -> None:
    keyed = summary_rows([family("1")], [], [], GATES)

    metrics = keyed["1", "digestive"]
    assert list(metrics) == ["aji", "aji.classical", "np_dice.train", "gap_np_dice", "aji_minus_classical"]
    aji = metrics["aji"]
    assert (aji.value, aji.low, aji.high, aji.n, aji.gate) == (0.6, 0.5, 0.7, 9, "pass")
    assert math.isnan(aji.split_min)
    assert math.isnan(aji.split_max)
    assert metrics["gap_np_dice"].gate == "pass"


def test_organ_predicted_organ_given_and_organ_head_are_families() -> None:
    keyed = summary_rows([], [overall("1")], [head("1")], GATES)

    assert list(keyed) == [("1", "organ_predicted"), ("1", "organ_given"), ("1", "organ_head")]
    assert keyed["1", "organ_predicted"]["aji.upper_bound"].value == 0.95
    assert keyed["1", "organ_given"]["aji"].value == 0.55
    assert keyed["1", "organ_head"]["organ_accuracy"].gate == "pass"
    assert keyed["1", "organ_head"]["organ_accuracy.trivial"].value == 0.4
    assert keyed["1", "organ_head"]["routing_accuracy"].value == 0.999


def test_an_absent_family_or_head_is_undefined_and_not_missing() -> None:
    keyed = summary_rows([absent("1")], [], [head("1", status="absent", reason="no tiles", values={})], GATES)

    for family_rows in (keyed["1", "digestive"], keyed["1", "organ_head"]):
        assert {row.gate for row in family_rows.values()} == {"undefined"}
        assert all(row.n == 0 and math.isnan(row.value) for row in family_rows.values())


def test_means_over_splits_come_last_with_their_range_in_columns_of_its_own() -> None:
    keyed = summary_rows([family("1", aji=0.4), family("2", aji=0.6)], [], [], GATES)

    mean = keyed["mean", "digestive"]["aji"]

    assert list(keyed)[-1] == ("mean", "digestive")
    assert (mean.value, mean.split_min, mean.split_max, mean.n) == (pytest.approx(0.5), 0.4, 0.6, 2)
    assert math.isnan(mean.low)
    assert math.isnan(mean.high)
    assert mean.gate == "partial"


def test_a_split_without_the_family_does_not_change_its_mean_and_one_split_has_no_mean() -> None:
    mean = summary_rows([family("1", aji=0.6), absent("2")], [], [], GATES)["mean", "digestive"]["aji"]

    assert (mean.value, mean.n) == (0.6, 1)
    assert math.isnan(mean.split_min)  # one split has no range
    assert ("mean", "digestive") not in summary_rows([family("1")], [], [], GATES)


def test_further_seeds_give_the_standard_deviation_of_values_and_of_their_means() -> None:
    repeats = [
        *(family(split, aji=0.5).model_copy(update={"family": "digestive-seed1"}) for split in ("1", "2")),
        absent("1").model_copy(update={"family": "respiratory-seed1"}),
    ]
    missing = absent("1").model_copy(update={"family": "respiratory"})

    keyed = summary_rows([family("1", aji=0.4), family("2", aji=0.6), missing], [], [], GATES, repeats)
    aji = {split: keyed[split, "digestive"]["aji"] for split in ("1", "2", "mean")}

    assert {split: (row.value, row.seeds) for split, row in aji.items()} == {
        "1": (0.4, 2),
        "2": (0.6, 2),
        "mean": (pytest.approx(0.5), 2),
    }
    assert aji["1"].seed_sd == pytest.approx(0.1 / math.sqrt(2))
    assert aji["mean"].seed_sd == pytest.approx(0)
    assert keyed["1", "respiratory"]["aji"].seeds == 0
    text = summary_text(keyed, absent={})
    assert next(line for line in text.splitlines() if line.startswith("  sd of 2 seeds")).split()[4:] == ["2", "0.071"]


def test_without_further_seeds_a_value_is_that_of_one_training() -> None:
    row = summary_rows([family("1", aji=0.4)], [], [], GATES)["1", "digestive"]["aji"]

    assert row.seeds == 1
    assert math.isnan(row.seed_sd)


def test_the_text_shows_marks_grades_advice_warnings_and_what_is_absent() -> None:
    keyed = summary_rows([family("1", aji=0.31)], [overall("1")], [head("1")], GATES)

    text = summary_text(
        keyed,
        marks=("simulated data", "untrained encoder"),
        warnings=["split 1, digestive: the best np_threshold lies on the border"],
        absent={"split 1, respiratory": "no tiles in test folds [3]"},
    )

    first, *_ = text.splitlines()
    assert "simulated data, untrained encoder" in first
    assert "0.310~" in text
    assert "  classical" in text
    assert "organ_accuracy 0.995+" in text
    assert "split 1, digestive: aji 0.310 partial" in text
    assert "respiratory: no tiles in test folds [3]" in text
    assert "lies on the border" in text
    assert max(len(line) for line in text.splitlines()) <= 150


def test_the_text_starts_with_a_short_conclusion_of_the_whole_workflow() -> None:
    keyed = summary_rows([family("1", aji=0.31)], [overall("1")], [head("1")], GATES)

    decoders = "The shared decoder is used for 3 of 19 organs, chosen on validation tiles."
    marks = ("simulated data", "untrained encoder")
    text = summary_text(keyed, marks=marks, warnings=["one"], decoders=decoders, absent={})

    conclusion = text.split("\n\n")[0].splitlines()
    assert len(conclusion) <= 9
    assert max(map(len, conclusion)) <= 100
    assert "  aji 0.500 (0.450 to 0.550)   bpq 0.400" in conclusion
    assert decoders in text
    assert any("4 pass, 2 partial" in line for line in conclusion)
    assert any("training.loss.hv_weight" in line for line in conclusion)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.09, "aji is better than the classical baseline (+0.050). Grades: "),
        (-0.09, -0.01, "aji is worse than the classical baseline (-0.050). Grades: "),
        (-0.02, 0.12, "aji is not clearly better than the classical baseline (+0.050). Grades: "),
        (math.nan, math.nan, "aji is not clearly better than the classical baseline (+0.050). Grades: "),
    ],
    ids=["better", "worse", "not_clear", "no_interval"],
)
def test_the_verdict_compares_with_the_baselines(low: float, high: float, verdict: str) -> None:
    difference = -0.05 if high < 0 else 0.05
    values = {"aji": (0.5, 0.4, 0.6), "aji_minus_classical": (difference, low, high)}
    found = {
        name: SummaryRow("1", "organ_predicted", name, *of_name, math.nan, math.nan, 9, 9)
        for name, of_name in values.items()
    }

    conclusion = summary_text({("1", "organ_predicted"): found}, absent={}).split("\n\n")[0]

    assert f"Verdict: {verdict}" in conclusion.replace("\n  ", " ")


@pytest.mark.parametrize(
    ("lows", "word"),
    [
        ((0.01, 0.02), "better than"),
        ((0.01, -0.02), "not clearly better than"),
        ((0.01, math.nan), "not clearly better than"),
    ],
    ids=["clear_in_both", "clear_in_one", "no_interval_in_one"],
)
def test_the_verdict_on_means_needs_an_interval_in_every_split(lows, word) -> None:
    """Two splits of three patients are both above 0 by chance every fourth time."""
    key, family_name = "aji_minus_classical", "organ_predicted"
    keyed = {
        (split, family_name): {key: SummaryRow(split, family_name, key, 0.05, low, 0.12, math.nan, math.nan, 9, 9)}
        for split, low in zip(("1", "2"), lows, strict=True)
    }
    mean = SummaryRow("mean", family_name, key, 0.05, math.nan, math.nan, 0.04, 0.06, 2, 0)

    conclusion = summary_text(keyed | {("mean", family_name): {key: mean}}, absent={}).split("\n\n")[0]

    assert f"Verdict: aji is {word} the classical baseline (+0.050)." in conclusion.replace("\n  ", " ")


def test_a_conclusion_says_once_why_values_have_no_interval() -> None:
    metrics = ("aji", "bpq", "mpq")
    found = {name: SummaryRow("1", "organ_predicted", name, 0.5, *[math.nan] * 4, 2, 2) for name in metrics}

    conclusion = summary_text({("1", "organ_predicted"): found}, absent={}).split("\n\n")[0].splitlines()

    assert "  aji 0.500 (no interval)   bpq 0.500 (no interval)   mpq 0.500 (no interval)" in conclusion
    assert sum("fewer than 3 patients" in line for line in conclusion) == 1
    assert max(map(len, conclusion)) <= 100


def test_a_conclusion_without_values_says_so() -> None:
    conclusion = summary_text({}, absent={"split 1, organ_predicted": "no tiles"}).split("\n\n")[0]

    assert "No value of the whole workflow is defined" in conclusion


def test_the_text_ends_with_means_over_splits_and_advises_by_split_alone() -> None:
    keyed = summary_rows([family("1", aji=0.31), family("2", aji=0.33)], [], [], GATES)

    text = summary_text(keyed, absent={})

    assert text.index("split 2") < text.index("mean over splits")
    assert "0.320~" in text
    assert text.count("digestive: aji ") == 2
    assert "MARKED" not in text
