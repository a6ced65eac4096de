from pathlib import Path

import pytest

from cellvit.__main__ import main
from cellvit.config.settings import Settings
from cellvit.config.steps import step_settings
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import Value, read_document, write_document
from cellvit.formats.evaluations import FamilyEvaluation, OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryOrigin, read_summary
from cellvit.formats.watershed import WatershedChoice

ORIGIN = Provenance(simulated=True, untrained_encoder=True)


def family(split: str, name: str, aji: float) -> FamilyEvaluation:
    systems = {
        "decoder": {"aji": Value(value=aji, low=0.3, high=0.5, n=12)},
        "classical": {"aji": Value(value=0.35, low=0.3, high=0.4, n=12)},
    }
    return FamilyEvaluation(
        provenance=ORIGIN, split=split, family=name, status="evaluated", n_tiles=12, systems=systems
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    absent = FamilyEvaluation(
        provenance=ORIGIN,
        split="1",
        family="epidermal",
        status="absent",
        reason="no tiles in test folds [3]",
        n_tiles=0,
    )
    routed = RoutedEvaluation(
        provenance=ORIGIN,
        split="1",
        status="evaluated",
        n_tiles=12,
        systems={"routed": {"aji": Value(value=0.4, n=12)}, "known": {"aji": Value(value=0.41, n=12)}},
        organ_head={"accuracy": Value(value=0.9, n=12)},
        left_out={"their organ belongs to no family": 2},
    )
    head = OrganHeadEvaluation(
        provenance=ORIGIN, split="1", status="evaluated", n_tiles=12, figures={"accuracy": Value(value=0.9, n=12)}
    )
    write_document(tmp_path / "organ_head.json", head)
    choice = WatershedChoice(
        provenance=ORIGIN,
        split="1",
        family="digestive",
        status="tuned",
        method="hovernet",
        parameters={},
        warnings=("the best np_threshold lies on the border",),
    )
    write_document(tmp_path / "digestive.json", family("1", "digestive", 0.4))
    write_document(tmp_path / "epidermal.json", absent)
    write_document(tmp_path / "routed.json", routed)
    write_document(tmp_path / "watershed.json", choice)
    return tmp_path


def summarize(folder: Path) -> int:
    return main(
        [
            "summarize",
            *("--settings", step_settings(Settings(), "summarize")),
            *("--evaluations", str(folder / "digestive.json"), str(folder / "epidermal.json")),
            *("--routed", str(folder / "routed.json")),
            *("--organ-heads", str(folder / "organ_head.json")),
            *("--watersheds", str(folder / "watershed.json")),
            *("--out", str(folder / "summary.csv"), "--table", str(folder / "summary.txt")),
            *("--origin", str(folder / "summary.json")),
        ]
    )


def test_every_figure_stands_in_the_table_with_its_grade(written) -> None:
    assert summarize(written) == 0

    rows = {(row.split, row.family, row.metric): row for row in read_summary(written / "summary.csv")}
    assert rows["1", "digestive", "aji"].gate == "partial"
    assert rows["1", "digestive", "aji.classical"].value == 0.35
    assert rows["1", "epidermal", "aji"].gate == "undefined"
    assert rows["1", "known_organ", "aji"].value == 0.41
    assert rows["1", "organ_head", "organ_accuracy"].gate == "fail"


def test_the_text_says_what_was_left_out_and_why(written) -> None:
    assert summarize(written) == 0

    text = (written / "summary.txt").read_text()
    assert "simulated data, untrained encoder" in text
    assert "split 1, epidermal: no tiles in test folds [3]" in text
    assert "2 test tiles left out: their organ belongs to no family" in text
    assert "the best np_threshold lies on the border" in text
    assert "organ_accuracy 0.900 fail" in text


def test_the_summary_says_what_it_was_made_from_and_what_it_must_say(written) -> None:
    assert summarize(written) == 0

    origin = read_document(written / "summary.json", SummaryOrigin)
    assert origin.provenance.made_from == {
        "split1_digestive_evaluation": sha256_of(written / "digestive.json"),
        "split1_epidermal_evaluation": sha256_of(written / "epidermal.json"),
        "split1_digestive_watershed": sha256_of(written / "watershed.json"),
        "split1_routed": sha256_of(written / "routed.json"),
        "split1_organ_head": sha256_of(written / "organ_head.json"),
    }
    assert origin.provenance.simulated
    assert origin.provenance.settings["quality"]
    assert origin.tables == {name: sha256_of(written / name) for name in ("summary.csv", "summary.txt")}


def test_patients_that_also_trained_the_decoder_are_told(written) -> None:
    evaluation = family("1", "digestive", 0.4).model_copy(update={"n_patients": 5, "n_patients_trained_on": 2})
    write_document(written / "digestive.json", evaluation)

    assert summarize(written) == 0

    line = "split 1, digestive: 2 of 5 test patients also trained the decoder"
    assert line in (written / "summary.txt").read_text()
