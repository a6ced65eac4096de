import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import run_documents as documents

from cellvit.config.settings import load_settings
from cellvit.config.steps import BuildReportSettings
from cellvit.errors import IntegrityError, SettingsError, StaleFileError
from cellvit.evaluation.scoring import COLUMNS
from cellvit.formats.checkpoints import write_checkpoint
from cellvit.formats.content import content_of
from cellvit.formats.digests import check_unchanged, sha256_of
from cellvit.formats.documents import Document, read_document, write_document
from cellvit.formats.novelty import write_absent_novelty
from cellvit.formats.page import page_digest, read_page_provenance
from cellvit.formats.summary import SummaryOrigin, write_summary
from cellvit.formats.tile_table import write_tile_scores
from cellvit.formats.timing import write_timing
from cellvit.stages.build_report import Arguments, run

LISTS = {
    "evaluations": "evaluation/split1/{}.json",
    "tables": "evaluation/split1/{}_tiles.csv",
    "galleries": "evaluation/split1/{}_gallery.json",
    "checkpoints": "checkpoints/split1/hovernet_{}.safetensors",
    "histories": "checkpoints/split1/hovernet_{}_history.csv",
    "watersheds": "watershed/split1/{}.json",
    "calibrations": "calibration/split1/{}.json",
}
"""Files of each family by the name of the argument."""

SINGLE: dict[str, tuple[str, Document]] = {
    "routed": ("evaluation/split1/routed.json", documents.ROUTED),
    "organ_heads": ("evaluation/split1/organ_head.json", documents.ORGAN_HEAD),
    "folds": ("tiles/fold1.json", documents.FOLD_SUMMARY),
    "folds_check": ("tiles/folds_check.json", documents.FOLDS_CHECK),
    "target_checks": ("tiles/fold1_check.json", documents.TARGET_CHECK),
    "feature_checks": ("features/fold1_check.json", documents.FEATURE_CHECK),
}

NOVELTY = "calibration/split1/novelty.safetensors"

SMALLEST_CHANGE = {".json": (b"\n ", b"\n  "), ".csv": (b"\n", b"\n\n")}
"""A change that a reader of the file would not notice, by its kind."""


@pytest.fixture
def arguments(tmp_path: Path) -> Arguments:
    """A run that is ready for its page."""
    for family in documents.FAMILIES:
        _write_family(tmp_path, family, trained=family != "epidermal")
    for path, document in SINGLE.values():
        write_document(tmp_path / path, document)
    write_absent_novelty(tmp_path / NOVELTY, documents.novelty())
    write_summary(tmp_path / "summary.csv", documents.SUMMARY)
    tables = {"summary.csv": sha256_of(tmp_path / "summary.csv")}
    write_document(tmp_path / "summary.json", SummaryOrigin(provenance=documents.PROVENANCE, tables=tables))
    timings = tuple(tmp_path / f"timings/{timing.step}/{timing.job}.json" for timing in documents.TIMINGS)
    for path, timing in zip(timings, documents.TIMINGS, strict=True):
        write_timing(path, timing)
    return Arguments(
        settings=BuildReportSettings(settings=documents.SETTINGS),
        summary=tmp_path / "summary.csv",
        summary_origin=tmp_path / "summary.json",
        timings=timings,
        novelties=(tmp_path / NOVELTY,),
        page=tmp_path / "report/index.html",
        **{
            name: tuple(tmp_path / path.format(family) for family in documents.FAMILIES) for name, path in LISTS.items()
        },
        **{name: (tmp_path / path,) for name, (path, _) in SINGLE.items()},
    )


def _write_family(root: Path, family: str, *, trained: bool) -> None:
    paths = {name: root / path.format(family) for name, path in LISTS.items()}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    documents.history(trained=trained).to_csv(paths["histories"], index=False)
    header = documents.header(family, trained=trained)
    tables = {"history": sha256_of(paths["histories"])}
    write_checkpoint(paths["checkpoints"], header.model_copy(update={"tables": tables}), {})
    write_document(paths["watersheds"], documents.watershed(family))
    write_document(paths["calibrations"], documents.calibration(family))
    write_tile_scores(paths["tables"], {"decoder": documents.scores(family)} if trained else {}, COLUMNS)
    evaluation = documents.evaluation(family, evaluated=trained)
    tables = {"tiles": sha256_of(paths["tables"])}
    write_document(paths["evaluations"], evaluation.model_copy(update={"tables": tables}))
    write_document(paths["galleries"], documents.gallery(family))


def test_the_page_shows_families_galleries_absences_and_times(arguments: Arguments) -> None:
    run(arguments)

    page = arguments.page.read_text(encoding="utf-8")
    assert re.findall(r"<h4>(\w+): AJI", page) == [
        *("Best", "Best", "Median", "Median", "Worst", "Worst", "Random", "Random")
    ]
    assert f"split 1, epidermal: {documents.REASON}" in page
    assert "SIMULATED DATA · UNTRAINED ENCODER" in page
    assert "<p>Weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial).</p>" in page
    assert "30 of 400 test tiles (7.5%) are unlike the training data" in page
    assert "1 min 15 s" in page
    assert "9.00 GB" in page


def test_the_page_is_a_function_of_its_inputs_in_any_order(arguments: Arguments) -> None:
    run(arguments)
    first = arguments.page.read_bytes()

    reversed_lists = {name: getattr(arguments, name)[::-1] for name in (*LISTS, *SINGLE, "timings")}
    run(replace(arguments, **reversed_lists))

    assert arguments.page.read_bytes() == first


def test_the_page_records_its_provenance_and_its_own_digest_which_detects_an_edit(arguments: Arguments) -> None:
    run(arguments)

    provenance = read_page_provenance(arguments.page)
    assert provenance.made_from["../evaluation/split1/all.json"] == content_of(arguments.evaluations[-1]).digest
    assert {"../summary.csv", "../checkpoints/split1/hovernet_all.safetensors"} <= set(provenance.made_from)
    assert not any("timings" in name for name in provenance.made_from)
    assert provenance.marks == ("simulated data", "untrained encoder")
    assert load_settings(provenance.settings["settings"]) == documents.SETTINGS
    check_unchanged(arguments.page, page_digest(arguments.page))

    arguments.page.write_text(arguments.page.read_text(encoding="utf-8").replace("AJI", "AJI+"), encoding="utf-8")

    with pytest.raises(IntegrityError):
        check_unchanged(arguments.page, page_digest(arguments.page))


def test_tables_that_do_not_pair_with_their_documents_are_refused(arguments: Arguments) -> None:
    for name in ("tables", "histories"):
        paths = getattr(arguments, name)
        with pytest.raises(IntegrityError, match="belongs to another document"):
            run(replace(arguments, **{name: (*paths[1:], paths[0])}))
        with pytest.raises(SettingsError, match=f"--{name}: expected one entry for each"):
            run(replace(arguments, **{name: paths[:1]}))


@pytest.mark.parametrize(
    "name", ["summary", "tables", "histories", "evaluations", "watersheds", "calibrations", "galleries", "routed"]
)
def test_no_page_is_made_of_a_file_that_was_changed_after_it_was_written(arguments: Arguments, name: str) -> None:
    paths = getattr(arguments, name)
    path = paths[0] if isinstance(paths, tuple) else paths
    path.write_bytes(path.read_bytes().replace(*SMALLEST_CHANGE[path.suffix], 1))

    with pytest.raises(IntegrityError, match=rf"{path}: the \w+ was changed after it was written"):
        run(arguments)

    assert not arguments.page.exists()


def test_no_page_mixes_a_summary_with_the_training_of_another_run(arguments: Arguments) -> None:
    history = arguments.histories[0]
    name = str(history.relative_to(arguments.summary_origin.parent))
    origin = read_document(arguments.summary_origin, SummaryOrigin)
    provenance = origin.provenance.model_copy(update={"made_from": {name: "0" * 64}})
    write_document(arguments.summary_origin, origin.model_copy(update={"provenance": provenance}))

    with pytest.raises(StaleFileError, match=f"{history}: the summary was made from another version of this file"):
        run(arguments)

    assert not arguments.page.exists()


def test_the_stage_loads_no_torch() -> None:
    code = "import sys, cellvit.stages.build_report; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
