import dataclasses
import math

import numpy as np
import pytest
import run_documents as documents

from cellvit.config.settings import load_settings
from cellvit.errors import ContractError
from cellvit.evaluation.advice import advice_by_fix
from cellvit.evaluation.grading import grade_counts
from cellvit.evaluation.values import MAP_METRICS, ORGAN_METRICS
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import Value
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.formats.watershed import TriedPoint
from cellvit.report import confusion, integrity, origin, results, verdict
from cellvit.report.cells import Table, value_cell
from cellvit.report.data import Decoder, ReportData, keyed, pair_decoders
from cellvit.report.page import render
from cellvit.report.wording import class_metric, metric_of, split_class

NAN = math.nan
TRAINING = (documents.header("digestive"), documents.history())


def texts(table: Table) -> dict[str, list[str]]:
    return {row.group or row.heading: [cell.text for cell in row.cells] for row in table.rows}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(Value(value=NAN, n=0), ("undefined (n = 0)", "", "", "undefined"), id="undefined_is_never_zero"),
        pytest.param(Value(value=0.25, n=1), ("0.250", "", "n = 1", "number"), id="without_interval"),
        pytest.param(
            Value(value=0.25, n=9, units=2), ("0.250", "no interval", "n = 9", "number"), id="fewer_than_three_patients"
        ),
        pytest.param(None, ("–", "", "", "absent"), id="not_measured"),
    ],
)
def test_a_cell_says_what_its_value_is(value: Value | None, shown: tuple[str, ...]) -> None:
    cell = value_cell(value)

    assert (cell.text, cell.interval, cell.n, cell.kind) == shown


def test_headline_shows_baselines_beside_the_decoder_and_the_reason_of_absence(data: ReportData) -> None:
    table = texts(results.headline_table(data.evaluations, data.routed[0], "1", {}))

    assert table["digestive"][:4] == ["0.600", "–", "0.300", "0.900"]
    assert table["epidermal"] == [f"absent: {documents.REASON}"]
    assert table["all test tiles, organ predicted"][0] == "0.550"


@pytest.mark.parametrize(
    ("low", "high", "kind", "hint"),
    [
        (0.1, 0.2, "pass", "excludes 0"),
        (-0.2, -0.1, "fail", "excludes 0"),
        (-0.1, 0.2, "partial", "includes 0"),
        (NAN, NAN, "partial", "fewer than 3 patients"),
    ],
)
def test_a_lead_is_clear_only_where_the_interval_excludes_zero(low: float, high: float, kind: str, hint: str) -> None:
    cell = results.lead(Value(value=0.05 if math.isnan(low) else (low + high) / 2, low=low, high=high, n=9))

    assert cell.kind.split()[-1] == kind
    assert hint in cell.hint


def test_metrics_show_their_convention_and_a_class_without_nuclei_is_one_undefined_row(data: ReportData) -> None:
    notes = {row.heading: row.note for row in results.metrics_table(data.evaluations[0], "All").rows}
    classes = texts(results.class_table(data.evaluations[0], "By class"))

    assert "over organs" in notes["bPQ"]
    assert "PQ, Neoplastic" not in notes
    assert classes["Neoplastic"][0] == "0.700"
    assert classes["Dead"] == [results.NO_NUCLEI]
    assert texts(results.gap_table(data.evaluations[0]))["NP Dice"] == ["0.820", "0.800", "0.024"]


@pytest.mark.parametrize(
    ("n_patients", "without", "label"),
    [
        (0, 3, "95 % interval over tiles (too narrow"),
        (3, 0, "95 % interval over 3 patients,"),
        (1, 2, "95 % interval over 1 patient and 2 tiles of unknown patient,"),
        (2, 0, "fewer than 3 patients: no interval"),
    ],
)
def test_tables_say_what_their_intervals_are_over(data: ReportData, n_patients: int, without: int, label: str) -> None:
    counts = {"n_patients": n_patients, "n_tiles_without_patient": without}
    evaluation, *others = (one.model_copy(update=counts) for one in data.evaluations)
    routed = data.routed[0].model_copy(update=counts)

    tables = (
        results.metrics_table(evaluation, "All"),
        results.class_table(evaluation, "By class"),
        results.organ_table(evaluation, "By organ"),
        results.headline_table([evaluation, *others], routed, "1", {}),
    )

    assert all(label in table.note for table in tables)
    mixed = results.headline_table([evaluation], data.routed[0].model_copy(update={"n_patients": 9}), "1", {})
    assert "over patients where they are known, else over tiles" in mixed.note


def test_the_mean_over_splits_shows_each_system_and_says_that_n_counts_splits() -> None:
    numbers = {"aji": 0.5, "aji.classical": 0.3, "aji_minus_classical": 0.2}
    rows = [
        SummaryRow(MEAN_SPLIT, "digestive", name, number, NAN, NAN, 0.1, 0.6, 3, 0) for name, number in numbers.items()
    ]

    table = results.mean_table(keyed(rows))

    assert texts(table) == {"digestive": ["0.500", "–", "0.300", "–", "+0.200", "–"]}
    assert "number of splits" in table.note
    assert {cell.interval for cell in table.rows[0].cells} == {"range 0.100 to 0.600", ""}
    assert not results.mean_table(keyed(documents.SUMMARY)).rows


def test_the_standard_deviation_over_seeds_stands_in_the_small_print(data: ReportData) -> None:
    row = SummaryRow("1", "digestive", "aji", 0.6, NAN, NAN, NAN, NAN, 3, 3, seeds=3, seed_sd=0.0123)

    table = results.headline_table(data.evaluations, data.routed[0], "1", keyed([row]))

    decoder, shared, *_ = next(found.cells for found in table.rows if found.group == "digestive")
    assert decoder.n.endswith("; sd 0.012")
    assert "sd" not in shared.n
    assert "sd: standard deviation over 3 trainings with different seeds" in table.note


def test_grades_come_with_limit_and_baseline_and_failures_with_a_fix_and_its_cause(data: ReportData) -> None:
    (table,) = verdict.gate_tables(data.summary, data.settings)

    assert texts(table)["digestive"] == ["0.400", "0.300", "above 0.5; partial above 0.3", "partial"]
    assert grade_counts(data.summary) == {"pass": 0, "partial": 1, "fail": 1, "undefined": 1}

    advice = advice_by_fix(data.summary)
    (causes,) = (causes for fix, causes in advice.items() if "features.input_px" in fix)  # np_weight is raised already
    assert causes == ("split 1, digestive: aji 0.400 partial",)


def test_confusion_is_normalised_by_rows_and_an_empty_row_is_undefined() -> None:
    table = confusion.confusion_table(("Colon", "Skin", "Liver"), ((3, 1, 0), (0, 0, 0), (0, 0, 0)), "Confusion")

    (colon, skin) = table.rows

    assert [(cell.text, cell.interval) for cell in colon.cells] == [("3", "75%"), ("1", "25%"), ("4", "")]
    assert [cell.text for cell in skin.cells] == ["–", "–", "0"]
    assert "Liver" in table.note


def test_the_watershed_table_shows_searched_parameters_runner_up_and_classical_baseline(data: ReportData) -> None:
    choice = data.watersheds[0]
    parameters = {"np_threshold": 0.5, "min_gain_px": 5}
    other = TriedPoint(method="hv_flow", parameters=parameters, value=choice.tried[1].value)
    two_methods = choice.model_copy(update={"tried": (choice.tried[0], other)})

    table = integrity.watershed_table(data.watersheds, PANNUKE)

    *searched, value, _, its_value, classical = table.columns
    assert searched == ["Status", "Method", "np_threshold"]
    assert (value, its_value, classical) == ("bPQ on validation tiles", "Its bPQ", "Classical baseline, bPQ")
    shown = ["tuned", "hovernet", "0.5", "0.550", "np_threshold 0.4", "0.520", "0.310"]
    assert texts(table)["split 1 · digestive"] == shown
    assert table.rows[0].cells[-1].hint == "otsu_factor 0.9"
    assert "hv_flow, min_gain_px 5" in texts(integrity.watershed_table([two_methods], PANNUKE))["split 1 · digestive"]


def test_patients_and_dropped_data_of_a_fold_are_counted(data: ReportData) -> None:
    named = data.fold_summaries[0].model_copy(update={"n_patients": 3, "n_tiles_without_patient": 1})

    table, with_patients = integrity.fold_table(data.fold_summaries), integrity.fold_table([named])

    assert texts(table)["fold 1"] == ["4", "–", "20", "15.0%", "1", "1", "7", "0"]
    assert texts(with_patients)["fold 1"][1] == "3 (1 tile unknown)"


def test_warnings_of_the_data_checks_are_shown_with_the_folds(data: ReportData) -> None:
    summary = data.fold_summaries[0].model_copy(update={"warnings": ("specks: Too many stray pixels.",)})

    page = render(dataclasses.replace(data, fold_summaries=(summary,)))

    assert "Fold 1, specks: Too many stray pixels. similar_images: 1 image looks like a copy." in page


def test_the_upper_bound_is_shown_by_fold_and_method_and_by_organ(data: ReportData) -> None:
    by_fold, by_organ = integrity.target_table(data.target_checks), integrity.upper_bound_table(data.target_checks)

    expected = [f"Upper bound {metric}, {method}" for method in ("hovernet", "hv_flow") for metric in ("AJI", "PQ")]
    assert list(by_fold.columns[4:]) == expected
    assert texts(by_fold)["fold 1"] == ["4", "20", "15.0%", "0.660", "0.910", "–", "0.980", "–"]
    assert texts(by_organ) == {"Colon": ["0.970"]}


def test_settings_are_complete_and_digests_are_short_with_the_whole_one_as_hint(data: ReportData) -> None:
    settings, row = texts(origin.settings_table(data.settings)), origin.digest_table(data).rows[0]

    assert settings["data.simulated.tiles_per_fold"] == ["4"]
    assert settings["training.epochs"] == [str(data.settings.training.epochs)]
    assert settings["splits.1.validate"] == ["2"]
    assert (row.group, row.heading, row.cells[0].hint) == ("fold 1", "../../tiles/fold1.h5", "ab" * 32)
    assert row.cells[0].hint.startswith(row.cells[0].text)


def test_times_add_up_by_step_memory_is_the_greatest_and_what_was_not_measured_is_a_dash(data: ReportData) -> None:
    rows = texts(origin.time_table(data.timings))

    assert rows == {
        "summarize": ["1", "0 min 01 s", "0 min 01 s", "0.50 GB", "–"],
        "train_hovernet": ["2", "1 min 15 s", "1 min 00 s", "2.00 GB", "9.00 GB"],
    }


def test_the_verdict_counts_without_the_shared_decoder_and_lists_what_is_absent(data: ReportData) -> None:
    lines = verdict.verdict_lines(data)

    assert lines[0].startswith("1 family decoders in 1 split were evaluated")
    assert any(line.startswith("AJI") and "clearly better in 1 of 1" in line for line in lines)
    assert any(line.startswith("bPQ") and "not clear in 1 of 1" in line for line in lines)
    assert any("Holm's correction for 2 comparisons" in line for line in lines)

    absent = data.routed[0].model_copy(update={"status": "absent", "reason": "no OrganHead", "left_out": {}})
    lines = verdict.absent_lines(data)
    assert f"split 1, epidermal: {documents.REASON}" in lines
    assert any("2 tiles left out" in line for line in lines)
    assert "split 1, routed evaluation: no OrganHead" in verdict.absent_lines(
        dataclasses.replace(data, routed=(absent,))
    )


def test_tiles_of_organs_that_are_left_out_are_counted_over_all_folds(data: ReportData) -> None:
    settings = load_settings(documents.SETTINGS.model_dump(by_alias=True) | {"left_out_organs": ["Liver", "Lung"]})
    folds = [{"Colon": 4, "Liver": 2}, {"Liver": 1}]
    summaries = tuple(documents.FOLD_SUMMARY.model_copy(update={"tiles_by_organ": counts}) for counts in folds)

    lines = verdict.absent_lines(dataclasses.replace(data, settings=settings, fold_summaries=summaries))

    assert "Liver: 3 tiles of all folds left out of every decoder (left_out_organs)" in lines
    assert "Lung: 0 tiles of all folds left out of every decoder (left_out_organs)" in lines


def test_the_page_says_which_data_it_is_about(data: ReportData) -> None:
    facts = texts(origin.data_table(data.settings, PANNUKE))

    assert facts["Classes"] == ["Neoplastic, Inflammatory, Connective, Dead, Epithelial"]
    assert facts["Resolution"] == ["0.25 µm per pixel"]
    assert facts["Licence of the data"] == ["CC BY-NC-SA 4.0"]


def test_a_difference_that_is_clear_alone_may_not_be_among_many(data: ReportData) -> None:
    borderline = Value(value=0.1, low=0.005, high=0.195, n=99, units=20)  # alone below 5 %
    alone = data.decoders[0]
    assert alone.evaluation is not None
    one, four = (
        [line for line in verdict.verdict_lines(dataclasses.replace(data, decoders=decoders)) if line.startswith("AJI")]
        for decoders in (
            [_with(alone, {"aji_minus_classical": borderline})],
            [_with(alone, {"aji_minus_classical": borderline})] * 4,
        )
    )

    assert "clearly better in 1 of 1" in one[0]
    assert "not clear in 4 of 4" in four[0]


def _with(decoder: Decoder, differences: dict[str, Value]) -> Decoder:
    assert decoder.evaluation is not None
    return dataclasses.replace(decoder, evaluation=decoder.evaluation.model_copy(update={"differences": differences}))


def test_the_confusion_of_classes_has_missed_and_false_nuclei_and_leaves_out_absent_classes() -> None:
    counts = np.zeros((7, 7), int)
    counts[1, 1], counts[1, 2], counts[1, 6], counts[6, 2] = 6, 2, 2, 5

    table = confusion.class_confusion_table(counts.tolist(), PANNUKE, "Confusion")

    assert table.columns == ("Neoplastic", "Inflammatory", "Missed", "Nuclei")
    assert texts(table)["Neoplastic"] == ["6", "2", "2", "10"]
    assert texts(table)["False nucleus"] == ["·", "5", "·", "5"]
    assert not confusion.class_confusion_table((), PANNUKE, "Confusion").rows


def test_every_metric_of_an_evaluation_has_a_name_and_a_convention() -> None:
    pq = ("dq", "sq", "bpq_image", *(f"mpq_{kind}" for kind in ("image", "strict", "pooled")))
    new = ("bpq_1px", "detection_near_f1", "boundary_um", "hausdorff_um", "class_calibration_error")
    counts = ("count_bias", "count_concordance")
    others = (*new, *counts, "aji_plus", "detection_recall", *pq)
    of_class = [split_class(name, PANNUKE) for name in ("pq_dead", "f1_dead", "count_limit_dead")]

    unnamed = [name for name in (*ORGAN_METRICS, *MAP_METRICS, *others) if not metric_of(name).convention]
    unnamed += [parts for parts in of_class if parts is None or not class_metric(parts[0]).convention]

    assert unnamed == []


def test_decoders_are_in_the_order_of_the_settings_by_split_and_with_the_shared_one_last(data: ReportData) -> None:
    later = (documents.header("digestive", split="2"), documents.history())

    decoders = pair_decoders(documents.SETTINGS, [later, TRAINING], evaluations=[documents.evaluation("digestive")])

    assert [decoder.header.family for decoder in data.decoders] == ["digestive", "epidermal", "all"]
    assert [decoder.is_shared for decoder in data.decoders] == [False, False, True]
    assert [decoder.header.split for decoder in decoders] == ["1", "2"]
    assert [decoder.evaluation is None for decoder in decoders] == [False, True]


@pytest.mark.parametrize(
    ("trainings", "others", "message"),
    [
        pytest.param([TRAINING, TRAINING], {}, "two documents are the checkpoint", id="two_checkpoints"),
        pytest.param(
            [TRAINING], {"evaluations": [documents.evaluation("digestive")] * 2}, "two documents", id="two_evaluations"
        ),
        pytest.param([], {"evaluations": [documents.evaluation("digestive")]}, "has no checkpoint", id="evaluation"),
        pytest.param([TRAINING], {"watersheds": [documents.watershed("all")]}, "has no checkpoint", id="watershed"),
        pytest.param(
            [TRAINING], {"galleries": [documents.gallery("digestive", split="2")]}, "has no checkpoint", id="gallery"
        ),
    ],
)
def test_documents_that_do_not_belong_together_are_refused(trainings: list, others: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        pair_decoders(documents.SETTINGS, trainings, **others)
