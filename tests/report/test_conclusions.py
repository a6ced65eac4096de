"""What to do next, published values, organ by metric, counts, and the machine, as the page concludes and shows them."""

import dataclasses

import numpy as np
import pytest
import run_documents as documents

from cellvit.config.settings import load_settings
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.documents import Value
from cellvit.formats.evaluations import DecoderChoice, RoutedEvaluation
from cellvit.formats.summary import MEAN_SPLIT, SummaryRow
from cellvit.formats.timing import Machine
from cellvit.report import counts
from cellvit.report.data import ReportData, keyed
from cellvit.report.matrix import organ_matrix
from cellvit.report.next_steps import next_steps
from cellvit.report.origin import machine_table
from cellvit.report.published import PUBLISHED, published_table

NAN = float("nan")
OFFICIAL = {1: 2656, 2: 2523, 3: 2722}


def with_differences(data: ReportData, **test_of: tuple[float, float, float]) -> ReportData:
    """The run with the difference of both decoders (value, low, high) on the test tiles of each organ."""
    choices = tuple(
        DecoderChoice(
            organ=organ,
            family="digestive",
            decoder="digestive",
            chosen_by="organ",
            metric="bpq",
            test=Value(value=value, low=low, high=high, n=60, units=30),
        )
        for organ, (value, low, high) in test_of.items()
    )
    routed = data.routed[0].model_copy(update={"decoders": choices})
    return dataclasses.replace(data, routed=(RoutedEvaluation.model_validate(routed.model_dump()),))


def words(data: ReportData) -> str:
    return "\n".join(step.text for step in next_steps(data))


@pytest.mark.parametrize(
    ("differences", "expected", "others"),
    [
        pytest.param(
            {"Colon": (-0.1, -0.12, -0.08), "Skin": (0.0, -0.1, 0.1)},
            ("Use the shared decoder for Colon", "train the shared decoder alone (families: null"),
            ("Use the decoder of the family",),
            id="shared_is_better_somewhere_and_worse_nowhere",
        ),
        pytest.param(
            {"Colon": (-0.1, -0.12, -0.08), "Skin": (0.1, 0.08, 0.12)},
            ("Use the shared decoder for Colon", "Use the decoder of the family for Skin"),
            ("families: null",),
            id="each_is_better_for_an_organ",
        ),
        pytest.param(
            {"Colon": (0.01, -0.1, 0.1), "Skin": (0.0, -0.1, 0.1)},
            ("do not show that a decoder for each family is worth its training",),
            ("Use the",),
            id="nothing_is_clear",
        ),
    ],
)
def test_the_page_concludes_which_decoder_to_use_and_whether_families_are_worth_it(
    data: ReportData, differences: dict, expected: tuple[str, ...], others: tuple[str, ...]
) -> None:
    text = words(with_differences(data, **differences))

    assert all(sentence in text for sentence in expected), text
    assert not any(sentence in text for sentence in others), text


def test_what_makes_values_invalid_comes_before_settings_and_use(data: ReportData) -> None:
    texts = [step.text for step in next_steps(data)]

    starts = (
        "Do not conclude anything",
        "Choose an encoder",
        "Look at what the checks",
        "1 decoder could not",
        "Fix: ",
    )
    places = [next(place for place, text in enumerate(texts) if text.startswith(start)) for start in starts]
    assert places == sorted(places)
    assert texts[-1].startswith("Look at the random tiles")
    assert "simulated" not in words(dataclasses.replace(data, marks=()))


def pannuke(data: ReportData) -> ReportData:
    """The run on PanNuke itself, with the official splits."""
    roles = {"1": (1, 2, 3), "2": (2, 1, 3), "3": (3, 2, 1)}
    splits = {name: dict(zip(("train", "validate", "test"), folds, strict=True)) for name, folds in roles.items()}
    settings = load_settings({"data": {"root": "PanNuke"}, "splits": splits})
    folds = tuple(
        documents.FOLD_SUMMARY.model_copy(update={"fold": fold, "n_tiles": n}) for fold, n in OFFICIAL.items()
    )
    rows = [
        SummaryRow(MEAN_SPLIT, "organ_given", name, value, NAN, NAN, value - 0.01, value + 0.01, 3, 0)
        for name, value in (("mpq", 0.501), ("bpq", 0.671))
    ]
    return dataclasses.replace(data, settings=settings, marks=(), fold_summaries=folds, summary=keyed(rows))


def test_published_values_stand_beside_those_of_this_run_with_source_and_protocol(data: ReportData) -> None:
    table = published_table(pannuke(data))

    assert [row.group for row in table.rows if row.group] == ["This run", "Published"]
    assert [cell.text for cell in table.rows[0].cells[:2]] == ["0.501", "0.671"]
    assert len(table.rows) == 1 + len(PUBLISHED)
    assert all(row.cells[3].text for row in table.rows)
    assert "three official splits" in table.note


def test_published_values_are_not_shown_where_the_data_or_the_splits_are_others(data: ReportData) -> None:
    run = pannuke(data)
    fewer = (run.fold_summaries[0].model_copy(update={"n_tiles": 2655}), *run.fold_summaries[1:])
    colours = PANNUKE.model_copy(update={"name": "Mine"})
    other = load_settings({"splits": {"1": {"train": 1, "validate": 3, "test": 2}, "2": None, "3": None}})

    assert published_table(run).rows
    for changed in (
        {"marks": ("simulated data",)},
        {"fold_summaries": fewer},
        {"dataset": colours},
        {"settings": other},
    ):
        assert not published_table(dataclasses.replace(run, **changed)).rows, changed


def test_organs_are_rows_and_metrics_columns_with_values_and_the_pq_of_each_class() -> None:
    organs = {
        "Colon": {"decoder": documents.values(aji=0.61, pq_neoplastic=0.7, pq_dead=NAN)},
        "Bile-duct": {"decoder": documents.values(aji=0.4)},
    }
    evaluation = documents.evaluation("digestive").model_copy(update={"organs": organs})

    table = organ_matrix([evaluation, documents.evaluation("epidermal", evaluated=False)], "1")

    assert [row.heading for row in table.rows] == ["Colon", "Bile-duct"]
    colon = dict(zip(table.columns, table.rows[0].cells, strict=True))
    assert (colon["Tiles"].text, colon["AJI"].text, colon["PQ Neoplastic"].text) == ("3", "0.610", "0.700")
    assert (colon["PQ Dead"].text, colon["PQ Dead"].kind) == ("·", "undefined")
    assert colon["AJI"].shade == 0.61
    assert not organ_matrix([documents.evaluation("epidermal", evaluated=False)], "1").rows


def test_counts_and_confusion_are_those_of_all_tiles_of_the_split_without_the_shared_decoder(data: ReportData) -> None:
    tiles = counts.scores_of_split(data.decoders, "1")
    assert tiles is not None

    table = counts.count_table(tiles, PANNUKE, "1")
    confusion = counts.confusion_of(tiles, PANNUKE, "1")

    rows = {row.heading: [cell.text for cell in row.cells] for row in table.rows}
    assert rows["All nuclei"] == rows["Neoplastic"] == ["15", "18", "1.000", "0.000", "0.571"]
    assert rows["Dead"][:3] == ["0", "0", "0.000"]
    assert confusion.columns == ("Neoplastic", "Missed", "Nuclei")
    assert [cell.text for cell in confusion.rows[-1].cells] == ["3", "·", "3"]
    assert counts.scores_of_split(data.decoders, "2") is None


def test_the_chart_of_counts_stays_small_with_thousands_of_tiles() -> None:
    tiles = documents.scores("digestive", n_tiles=3000)
    generator = np.random.default_rng(0)
    for name in ("n_true", "n_predicted", "tp_neoplastic", "fp_neoplastic"):
        tiles.table[name] = generator.integers(0, 200, 3000).astype(float)

    chart = counts.count_chart(tiles, PANNUKE)

    assert len(chart) < 300_000
    assert counts.count_chart(tiles, PANNUKE) == chart


def test_the_machine_is_what_the_jobs_recorded_and_unknown_where_none_did(data: ReportData) -> None:
    def shown(run: ReportData) -> dict[str, str]:
        return {row.heading: row.cells[0].text for row in machine_table(run).rows}

    old = tuple(timing.model_copy(update={"machine": Machine()}) for timing in data.timings)
    cpu = tuple(timing.model_copy(update={"machine": Machine(gpu="none", driver="none")}) for timing in data.timings)

    assert shown(data)["Git commit of the code"] == "c0ffee" * 6
    assert (shown(data)["GPU"], shown(data)["Driver of the GPU"]) == ("NVIDIA H200", "570.86")
    assert shown(data)["Versions"] == "torch 2.9.1"
    assert shown(dataclasses.replace(data, timings=old))["GPU"] == "unknown"
    assert shown(dataclasses.replace(data, timings=cpu))["GPU"] == "none: computed on the CPU"
