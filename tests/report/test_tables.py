import dataclasses
import math

import pytest

from cellvit.evaluation.values import MAP_METRICS, ORGAN_METRICS
from cellvit.formats.documents import Value
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.formats.watershed import GridPoint
from cellvit.report import gates, integrity, origin, results
from cellvit.report.cells import Table, figure_cell
from cellvit.report.findings import Findings
from cellvit.report.organs import confusion_table
from cellvit.report.verdict import absent_lines, verdict_lines
from cellvit.report.wording import metric_of

NAN = math.nan


def texts(table: Table) -> dict[str, list[str]]:
    return {row.group or row.heading: [cell.text for cell in row.cells] for row in table.rows}


def test_undefined_figure_is_named_and_never_zero() -> None:
    cell = figure_cell(Value(value=NAN, n=0))

    assert (cell.text, cell.kind) == ("undefined (n = 0)", "undefined")


def test_figure_without_interval_shows_value_and_n() -> None:
    cell = figure_cell(Value(value=0.25, n=1))

    assert (cell.text, cell.interval, cell.n) == ("0.250", "", "n = 1")


def test_missing_figure_is_a_dash_with_a_reason() -> None:
    assert figure_cell(None).text == "–"
    assert figure_cell(None).hint


def test_headline_puts_baselines_beside_the_decoder_and_explains_absence(findings: Findings) -> None:
    table = results.headline_table(findings.evaluations, findings.routed[0], "1")

    assert texts(table)["digestive"][:4] == ["0.600", "–", "0.300", "0.900"]
    assert "no tiles of Skin" in texts(table)["epidermal"][0]
    assert texts(table)["all test tiles, organ predicted"][0] == "0.550"


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(0.1, 0.2, "pass"), (-0.2, -0.1, "fail"), (-0.1, 0.2, "partial"), (NAN, NAN, "partial")]
)
def test_lead_is_clear_only_where_the_interval_leaves_zero_out(low: float, high: float, kind: str) -> None:
    value = 0.05 if math.isnan(low) else (low + high) / 2

    assert results.lead(Value(value=value, low=low, high=high, n=9)).kind.split()[-1] == kind


def test_published_convention_is_named_next_to_bpq(findings: Findings) -> None:
    table = results.metrics_table(findings.evaluations[0], "All")

    notes = {row.heading: row.note for row in table.rows}

    assert "over organs" in notes["bPQ"]
    assert "PQ, Neoplastic" not in notes


def test_class_without_nuclei_is_one_undefined_row(findings: Findings) -> None:
    table = results.class_table(findings.evaluations[0], "By class")

    assert texts(table)["Neoplastic"][0] == "0.700"
    assert texts(table)["Dead"] == [results.NO_NUCLEI]


@pytest.mark.parametrize(
    ("n_patients", "without", "said"),
    [
        (0, 3, "95 % bootstrap interval over tiles,"),
        (2, 0, "95 % bootstrap interval over 2 patients,"),
        (1, 2, "95 % bootstrap interval over 1 patient and 2 tiles of unknown patient,"),
        (1, 0, "no interval, because all tiles are of one patient,"),
    ],
)
def test_tables_say_what_their_intervals_are_over(findings: Findings, n_patients: int, without: int, said: str) -> None:
    counts = {"n_patients": n_patients, "n_tiles_without_patient": without}
    evaluation, *others = (one.model_copy(update=counts) for one in findings.evaluations)
    routed = findings.routed[0].model_copy(update=counts)

    tables = (
        results.metrics_table(evaluation, "All"),
        results.class_table(evaluation, "By class"),
        results.organ_table(evaluation, "By organ"),
        results.headline_table([evaluation, *others], routed, "1"),
    )

    assert all(said in table.note for table in tables)


def test_a_headline_of_evaluations_that_do_not_draw_alike_says_so(findings: Findings) -> None:
    evaluation = findings.evaluations[0].model_copy(update={"n_patients": 2})

    table = results.headline_table([evaluation], findings.routed[0], "1")

    assert "over patients where they are known, else over tiles" in table.note


def test_a_lead_without_interval_says_why(findings: Findings) -> None:
    assert "fewer than two tiles or patients" in results.lead(Value(value=0.2, n=9)).hint


def test_patients_of_a_fold_are_counted(findings: Findings) -> None:
    named = findings.fold_summaries[0].model_copy(update={"n_patients": 3, "n_tiles_without_patient": 1})

    assert texts(integrity.fold_table([named]))["fold 1"][:2] == ["4", "3 (unknown: 1 tiles)"]


def test_gap_table_shows_training_test_and_gap(findings: Findings) -> None:
    table = results.gap_table(findings.evaluations[0])

    assert texts(table)["NP Dice"] == ["0.820", "0.800", "0.024"]


def test_mean_over_splits_says_that_n_counts_splits() -> None:
    rows = [SummaryRow(MEAN_SPLIT, "digestive", "aji", 0.5, 0.4, 0.6, 3)]

    table = results.mean_table(rows)

    assert texts(table)["digestive"][0] == "0.500"
    assert "number of splits" in table.note
    assert not results.mean_table([]).rows


def test_gates_show_limit_baseline_and_grade(findings: Findings) -> None:
    (table,) = gates.gate_tables(findings.summary, findings.settings.gates.quality)

    assert texts(table)["digestive"] == ["0.400", "0.300", "over 0.5; partial over 0.3", "partial"]
    assert gates.gate_counts(findings.summary) == {"pass": 0, "partial": 1, "fail": 1, "undefined": 1}


def test_failed_gates_come_with_advice(findings: Findings) -> None:
    advice = gates.advice_by_remedy(findings.summary)

    (findings_of,) = (places for remedy, places in advice.items() if "training.loss.hv_magnitude" in remedy)
    assert any(place.startswith("split 1, digestive: ") for place in findings_of)


def test_confusion_is_normalised_by_rows_and_an_empty_row_is_undefined() -> None:
    table = confusion_table(("Colon", "Skin", "Liver"), ((3, 1, 0), (0, 0, 0), (0, 0, 0)), "Confusion")

    (colon, skin) = table.rows

    assert [(cell.text, cell.interval) for cell in colon.cells] == [("3", "75%"), ("1", "25%"), ("4", "")]
    assert [cell.text for cell in skin.cells] == ["–", "–", "0"]
    assert "Liver" in table.note


def test_watershed_shows_searched_parameters_runner_up_and_warnings(findings: Findings) -> None:
    choices = [decoder.watershed for decoder in findings.decoders if decoder.watershed]

    table = integrity.watershed_table(choices)

    assert table.columns == ("Status", "Method", "np_threshold", "AJI on validation tiles", "Runner-up", "Its AJI")
    assert texts(table)["split 1 · digestive"] == ["tuned", "hovernet", "0.5", "0.550", "np_threshold 0.4", "0.520"]
    assert "last of its list" in integrity.watershed_warnings(choices)[0]


def test_dropped_data_of_a_fold_are_counted(findings: Findings) -> None:
    table = integrity.fold_table(findings.fold_summaries)

    assert texts(table)["fold 1"] == ["4", "–", "20", "15.0%", "1", "1", "7", "0"]


def test_runner_up_of_another_method_is_named(findings: Findings) -> None:
    (choice, *_) = [decoder.watershed for decoder in findings.decoders if decoder.watershed]
    second = GridPoint(method="hv_flow", parameters={"np_threshold": 0.5, "min_gain_px": 5}, aji=choice.grid[1].aji)

    table = integrity.watershed_table([choice.model_copy(update={"grid": (choice.grid[0], second)})])

    assert "hv_flow, min_gain_px 5" in texts(table)["split 1 · digestive"]


def test_oracle_of_each_method_has_its_columns(findings: Findings) -> None:
    table = integrity.target_table(findings.target_checks)

    assert table.columns[4:] == (
        "Oracle AJI, hovernet",
        "Oracle PQ, hovernet",
        "Oracle AJI, hv_flow",
        "Oracle PQ, hv_flow",
    )
    assert [text for text in texts(table)["digestive"] if text.startswith("0.9")] == ["0.910", "0.980"]


def test_family_without_tiles_has_no_oracle(findings: Findings) -> None:
    empty = findings.target_checks[0].model_copy(update={"n_tiles": 0, "family": "epidermal"})

    assert "no tiles in any fold" in texts(integrity.target_table([empty]))["epidermal"][0]


def test_settings_are_complete_with_their_keys(findings: Findings) -> None:
    table = texts(origin.settings_table(findings.settings))

    assert table["data.simulated.tiles_per_fold"] == ["4"]
    assert table["training.loss.hv_magnitude"] == ["1.0"]
    assert table["splits.1.validate"] == ["2"]


def test_hashes_are_short_with_the_whole_as_hint(findings: Findings) -> None:
    cell = origin.hash_table(findings).rows[0].cells[0]

    assert cell.hint.startswith(cell.text)
    assert len(cell.hint) == 64


def test_times_add_up_by_step_and_memory_is_the_greatest(findings: Findings) -> None:
    rows = texts(origin.time_table(findings.timings))

    assert list(rows) == ["summarize", "train_hovernet"]
    assert rows["train_hovernet"] == ["2", "1 min 15 s", "1 min 00 s", "2.00 GB", "9.00 GB"]


def test_memory_that_was_not_measured_is_a_dash(findings: Findings) -> None:
    assert texts(origin.time_table(findings.timings))["summarize"] == ["1", "0 min 01 s", "0 min 01 s", "–", "–"]


def test_verdict_counts_without_the_control(findings: Findings) -> None:
    lines = verdict_lines(findings)

    assert lines[0].startswith("1 family decoders in 1 split were evaluated")
    assert any(line.startswith("AJI") and "clearly better in 1 of 1" in line for line in lines)
    assert any(line.startswith("bPQ") and "not clear in 1 of 1" in line for line in lines)


def test_what_is_missing_is_listed_with_its_reason(findings: Findings) -> None:
    lines = absent_lines(findings)

    assert "split 1, epidermal: no tiles of Skin in training fold 1" in lines
    assert any("2 tiles left out" in line for line in lines)


def test_absent_routing_says_why(findings: Findings) -> None:
    absent = findings.routed[0].model_copy(update={"status": "absent", "reason": "no OrganHead", "left_out": {}})

    lines = absent_lines(dataclasses.replace(findings, routed=(absent,)))

    assert "split 1, routed evaluation: no OrganHead" in lines


def test_every_metric_of_an_evaluation_has_a_name_and_a_convention() -> None:
    others = (
        "aji_plus",
        "dq",
        "sq",
        "bpq_image",
        "mpq_image",
        "mpq_strict",
        "mpq_pooled",
        "detection_recall",
        "f1_dead",
    )

    unnamed = [name for name in (*ORGAN_METRICS, *MAP_METRICS, *others) if not metric_of(name).convention]

    assert unnamed == []
