from collections.abc import Sequence
from pathlib import Path

import pytest

from cellvit.config.evaluation import QualityGates
from cellvit.config.steps import SummarizeSettings
from cellvit.formats.checkpoints import CheckpointHeader, StartWeights
from cellvit.formats.content import content_of
from cellvit.formats.dataset import PANNUKE
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import Value, read_document, write_document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation, SourceValues
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryOrigin, read_summary
from cellvit.formats.tiles import NotAnnotated
from cellvit.formats.watershed import WatershedChoice
from cellvit.stages.summarize import Arguments, run
from cellvit.training.outputs import write_outputs

COMMON = {"provenance": Provenance(data_set=PANNUKE, simulated=True, encoder_mark="untrained encoder"), "split": "1"}
EVALUATED = {**COMMON, "status": "evaluated", "n_tiles": 12}


def value(number: float) -> Value:
    return Value(value=number, low=0.3, high=0.5, n=12)


DIGESTIVE = FamilyEvaluation(
    **EVALUATED, family="digestive", systems={"decoder": {"aji": value(0.4)}, "classical": {"aji": value(0.35)}}
)
DOCUMENTS = {
    "digestive": DIGESTIVE,
    "epidermal": FamilyEvaluation(
        **COMMON, family="epidermal", status="absent", reason="no tiles in test folds [3]", n_tiles=0
    ),
    "routed": RoutedEvaluation(
        **EVALUATED,
        systems={"organ_predicted": {"aji": value(0.4)}, "organ_given": {"aji": value(0.41)}},
        organ_head={"accuracy": value(0.9)},
        left_out={"their organ belongs to no family": 2},
    ),
    "organ_head": OrganHeadEvaluation(**EVALUATED, values={"accuracy": value(0.9)}),
    "watershed": WatershedChoice(
        **COMMON,
        family="digestive",
        status="tuned",
        method="hovernet",
        parameters={},
    ),
}


@pytest.fixture
def summarized(tmp_path: Path):
    """Summarize the documents, with `changes` of the first one; the folder and the text."""

    def summarize(decoders: Sequence[CheckpointHeader] = (), **changes: object) -> tuple[Path, str]:
        paths = {name: tmp_path / f"evaluation/{name}.json" for name in DOCUMENTS}
        for name, path in paths.items():
            write_document(path, DOCUMENTS[name].model_copy(update=changes if name == "digestive" else {}))
        checkpoints = tuple(tmp_path / f"checkpoints/{header.family}.safetensors" for header in decoders)
        for path, header in zip(checkpoints, decoders, strict=True):
            write_outputs(path, path.with_suffix(".csv"), header)
        run(
            Arguments(
                checkpoints=checkpoints,
                histories=tuple(path.with_suffix(".csv") for path in checkpoints),
                settings=SummarizeSettings(quality=QualityGates()),
                evaluations=(paths["digestive"], paths["epidermal"]),
                routed=(paths["routed"],),
                organ_heads=(paths["organ_head"],),
                watersheds=(paths["watershed"],),
                summary=tmp_path / "summary.csv",
                table=tmp_path / "summary.txt",
                origin=tmp_path / "summary.json",
            )
        )
        return tmp_path, (tmp_path / "summary.txt").read_text()

    return summarize


def test_every_value_is_in_the_table_with_its_grade(summarized) -> None:
    folder, _ = summarized()

    rows = {(row.family, row.metric): row for row in read_summary(folder / "summary.csv")}
    assert rows["digestive", "aji"].gate == "partial"
    assert rows["digestive", "aji.classical"].value == 0.35
    assert rows["epidermal", "aji"].gate == "undefined"
    assert rows["organ_given", "aji"].value == 0.41
    assert rows["organ_head", "organ_accuracy"].gate == "partial"


def test_values_by_source_are_rows_that_say_what_was_seen(summarized) -> None:
    by_source = {"Lyon": {"aji": value(0.5)}, "Bern": {"aji": value(0.4)}}
    trained_on, n_tiles = {"Lyon": "seen", "Bern": "unseen"}, {"Lyon": 6, "Bern": 6}
    of_system = SourceValues(trained_on=trained_on, n_tiles=n_tiles, values=by_source, gaps={"aji": value(0.1)})

    folder, _ = summarized(sources={"decoder": of_system, "shared": of_system})

    rows = {row.metric: row.value for row in read_summary(folder / "summary.csv") if row.family == "digestive"}
    assert {name: found for name, found in rows.items() if "[" in name or "source" in name} == {
        "aji[Lyon seen]": 0.5,
        "aji[Bern unseen]": 0.4,
        "source_gap_aji": 0.1,
        "aji.shared[Lyon seen]": 0.5,
        "aji.shared[Bern unseen]": 0.4,
        "source_gap_aji.shared": 0.1,
    }


def test_the_text_names_marks_warnings_and_what_is_missing(summarized) -> None:
    _, text = summarized(n_patients=5, n_patients_trained_on=2)

    for expected in (
        "simulated data, untrained encoder",
        "split 1, epidermal: no tiles in test folds [3]",
        "split 1, organ_predicted: 2 test tiles left out: their organ belongs to no family",
        "organ_accuracy 0.900 partial",
        "split 1, digestive: 2 of 5 test patients also trained the decoder",
    ):
        assert expected in text


def test_the_text_counts_test_tiles_that_are_not_scored(summarized) -> None:
    expected = "split 1, digestive: test tiles that are not scored, because no pixel of them is annotated"

    assert f"{expected}: 3" in summarized(not_annotated=NotAnnotated(share=0.5, n_partly=2, n_wholly=3))[1]
    assert expected not in summarized(not_annotated=NotAnnotated(share=0.1, n_partly=2))[1]


def test_the_text_warns_of_start_weights_that_have_seen_validation_tiles(summarized) -> None:
    start = StartWeights(
        file="old.safetensors",
        sha256="ab" * 32,
        split="1",
        family="all",
        step=100,
        classes=(),
        taken=("trunk",),
        new=(),
        n_validation_tiles_seen=3,
    )
    header = CheckpointHeader(
        **COMMON, kind="hovernet", family="digestive", status="trained", mpp=0.25, tiles={"validate": 7}, start=start
    )

    _, text = summarized([header])

    assert "split 1, digestive: the start weights (old.safetensors) have seen 3 of 7 validation tiles" in text


def test_the_text_says_that_two_patients_give_no_interval(summarized) -> None:
    expected = "split 1, digestive: fewer than 3 test patients: no interval"

    assert expected in summarized(n_patients=2)[1]
    assert expected not in summarized(n_patients=2, n_tiles_without_patient=1)[1]
    assert expected not in summarized(n_patients=0, n_tiles_without_patient=2)[1]


def test_the_origin_names_the_content_of_every_input_and_the_tables(summarized) -> None:
    folder, _ = summarized()

    origin = read_document(folder / "summary.json", SummaryOrigin)
    names = [f"evaluation/{name}.json" for name in DOCUMENTS]
    assert origin.provenance.made_from == {name: content_of(folder / name).digest for name in names}
    assert origin.provenance.simulated
    assert origin.provenance.settings["quality"]
    assert origin.tables == {name: sha256_of(folder / name) for name in ("summary.csv", "summary.txt")}
