import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cellvit.__main__ import main
from cellvit.config.settings import load_settings
from cellvit.config.steps import step_settings
from cellvit.formats.digests import sha256_of
from cellvit.formats.documents import write_document
from cellvit.formats.evaluations import OrganHeadEvaluation, RoutedEvaluation
from cellvit.formats.history import HOVERNET_HISTORY, EpochRecord, write_history
from cellvit.formats.page import page_digest, read_page_origin
from cellvit.formats.provenance import Provenance
from cellvit.formats.summary import SummaryOrigin, write_summary

FAMILIES = {"digestive": ("Colon",), "epidermal": ("Skin",)}
SETTINGS = load_settings(
    {
        "data": {"root": None, "simulated": {}},
        "families": FAMILIES,
        "splits": {"1": {"train": 1, "validate": 2, "test": 3}},
        "encoder": {"preset": "tiny-vit", "weights": "random"},
        "training": {"pooled_control": False},
    }
)


CHANGES = {
    ".json": lambda content: content.replace(b"\n ", b"\n  ", 1),
    ".csv": lambda content: content + b"\n",
    ".safetensors": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}
"""The smallest that a reader of each kind would not mind."""


@dataclass(frozen=True)
class Case:
    """Files of a run that is ready for its report, by the options of the stage."""

    options: dict[str, list[Path]]
    out: Path

    @property
    def kept(self) -> Path:
        """Galleries of the last page."""
        return self.out.parent / ".galleries"

    def report(self, *more: str) -> int:
        lists = [word for name, paths in self.options.items() for word in (f"--{name}", *map(str, paths))]
        fixed = ["--settings", step_settings(SETTINGS, "build_report"), "--out", str(self.out), "--device", "cpu"]
        return main(["build_report", *fixed, *lists, *more])


def _write_history(path: Path, *, trained: bool) -> None:
    train = dict.fromkeys(HOVERNET_HISTORY.train, 1.0)
    record = EpochRecord(0, 1e-4, train, dict.fromkeys(HOVERNET_HISTORY.validate, 0.5))
    write_history(path, HOVERNET_HISTORY, [record] if trained else [], chosen=0 if trained else None)


@pytest.fixture(scope="module")
def case(
    write_run: Callable,
    write_decoder: Callable,
    tune: Callable,
    evaluate: Callable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    run = write_run({1: ["Colon"] * 2, 2: ["Colon"] * 2, 3: ["Colon"] * 4}, FAMILIES)
    root = run.root
    for family in FAMILIES:
        trained = family == "digestive"
        _write_history(root / f"checkpoints/{family}.csv", trained=trained)
        tables = {"history": sha256_of(root / f"checkpoints/{family}.csv")}
        status = "trained" if trained else "absent"
        write_decoder(root / f"checkpoints/{family}.safetensors", family, status=status, tables=tables)
        tune(run, family)
        evaluate(run, family)
    origin = Provenance(simulated=True, untrained_encoder=True)
    head = {"provenance": origin, "split": "1", "status": "absent", "reason": "no training tiles", "n_tiles": 0}
    write_document(root / "routed.json", RoutedEvaluation(**head))
    write_document(root / "organ_head.json", OrganHeadEvaluation(**head))
    write_summary(root / "summary.csv", [])
    tables = {"summary.csv": sha256_of(root / "summary.csv")}
    write_document(root / "summary.json", SummaryOrigin(provenance=origin, tables=tables))
    of_family = {
        "evaluations": "evaluation/{}.json",
        "family-tiles": "evaluation/{}_tiles.csv",
        "checkpoints": "checkpoints/{}.safetensors",
        "histories": "checkpoints/{}.csv",
        "watersheds": "watershed/{}.json",
        "features": "families/{}/features.h5",
        "targets": "families/{}/targets.h5",
    }
    options = {name: [root / path.format(family) for family in FAMILIES] for name, path in of_family.items()}
    options |= {
        "summary": [root / "summary.csv"],
        "summary-origin": [root / "summary.json"],
        "routed": [root / "routed.json"],
        "organ-heads": [root / "organ_head.json"],
    }
    return Case(options, tmp_path_factory.mktemp("report") / "index.html")


def test_report_shows_families_galleries_and_absences(case: Case) -> None:
    assert case.report() == 0

    page = case.out.read_text(encoding="utf-8")
    assert page.count('class="exhibit"') == 3
    assert re.findall(r"<h4>(\w+): AJI", page) == ["Best", "Median", "Worst"]
    assert "family epidermal has no tiles in training folds 1" in page
    assert "OrganHead: no training tiles" in page
    assert "SIMULATED DATA · UNTRAINED ENCODER" in page
    assert "<p>Weights trained on PanNuke inherit CC BY-NC-SA 4.0 (non-commercial).</p>" in page
    assert "instead of" not in page  # decoded again, the tiles have as many nuclei as in the evaluation
    assert case.out.stat().st_size < 3_000_000


def test_report_is_a_function_of_its_inputs_in_any_order(case: Case) -> None:
    case.report()
    first = case.out.read_bytes()
    turned = {name: paths[::-1] for name, paths in case.options.items()}

    shutil.rmtree(case.kept)
    replace(case, options=turned).report()

    assert case.out.read_bytes() == first


def test_galleries_are_kept_for_a_page_without_features(case: Case) -> None:
    case.report()
    first = case.out.read_bytes()

    replace(case, options={**case.options, "features": []}).report()

    assert case.out.read_bytes() == first


def test_a_page_without_features_and_kept_galleries_says_how_to_get_pictures(case: Case) -> None:
    case.report()
    for kept in case.kept.iterdir():
        kept.write_text(kept.read_text().replace("Best", "Beast").replace("best", "beast"))

    assert replace(case, options={**case.options, "features": []}).report() == 0

    page = case.out.read_text(encoding="utf-8")
    assert "beast" not in page
    assert 'class="exhibit"' not in page
    assert "snakemake --forcerun extract_features gather_family build_report" in page


def test_a_page_says_what_it_was_made_from_and_carries_its_own_hash(case: Case) -> None:
    case.report()

    origin = read_page_origin(case.out)
    evaluation = case.options["evaluations"][0]
    assert origin.made_from["split1_digestive_evaluation"] == sha256_of(evaluation)
    assert {"summary", "split1_routed", "split1_epidermal_checkpoint", "split1_digestive_tiles"} <= set(
        origin.made_from
    )
    assert origin.simulated
    assert origin.settings["settings"]["families"]["digestive"] == ["Colon"]
    carried, actual = page_digest(case.out)
    assert carried == actual


def test_a_page_that_was_edited_no_longer_agrees_with_its_hash(case: Case) -> None:
    case.report()
    page = case.out.read_text(encoding="utf-8")

    case.out.write_text(page.replace("AJI", "AJI+"), encoding="utf-8")

    carried, actual = page_digest(case.out)
    assert carried != actual


def test_times_come_from_benchmark_files_and_gpu_memory_from_the_logs_beside_them(case: Case, tmp_path: Path) -> None:
    timings, logs = tmp_path / "timings/train_hovernet", tmp_path / "logs/train_hovernet"
    timings.mkdir(parents=True)
    logs.mkdir(parents=True)
    (timings / "a.tsv").write_text("s\th:m:s\tmax_rss\n61.0\t0:01:01\t512.0\n")
    (timings / "b.tsv").write_text("s\th:m:s\tmax_rss\n0.1\t0:00:00\tNA\n")
    (logs / "a.log").write_text("03:44:14 INFO gpu peak_mb=3584 of=81559 device=NVIDIA H100 80GB HBM3\n")

    case.report("--timings", str(tmp_path / "timings"))

    page = case.out.read_text(encoding="utf-8")
    assert "1 min 01 s" in page
    assert "3.50 GB" in page


def test_tables_that_do_not_pair_with_their_documents_are_refused(case: Case, capsys: pytest.CaptureFixture) -> None:
    turned = {**case.options, "family-tiles": case.options["family-tiles"][::-1]}
    fewer = {**case.options, "histories": case.options["histories"][:1]}

    assert replace(case, options=turned).report() == 1
    assert "is not the table that its document was written with" in capsys.readouterr().err
    assert replace(case, options=fewer).report() == 1
    assert "--histories must have one entry for each of --checkpoints" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["summary", "family-tiles", "histories", "evaluations", "checkpoints", "watersheds"])
def test_no_page_is_made_of_what_was_changed_after_it_was_written(
    case: Case, option: str, capsys: pytest.CaptureFixture
) -> None:
    case.out.unlink(missing_ok=True)
    path = case.options[option][0]
    original = path.read_bytes()
    path.write_bytes(CHANGES[path.suffix](original))

    code = case.report()
    path.write_bytes(original)

    assert code == 1
    assert re.search(rf"{path}: (was changed after|is not the table)", capsys.readouterr().err)
    assert not case.out.exists()


def test_a_missing_store_of_a_family_is_named(case: Case, capsys: pytest.CaptureFixture) -> None:
    others = {**case.options, "targets": case.options["targets"][1:]}

    assert replace(case, options=others).report() == 1

    assert "the targets of family digestive are not among the stores given" in capsys.readouterr().err
