import logging
import math
from pathlib import Path

import pytest

from cellvit.__main__ import main
from cellvit.formats.documents import read_document
from cellvit.formats.tiles import TargetCheck

FAMILIES = {"digestive": ("Colon", "Stomach"), "epidermal": ("Skin",)}


def check(run, family: str, out: Path, gates: str = "{}") -> int:
    arguments = ["--settings", gates, "--family", family, "--targets", str(run.targets_of(family)), "--out", str(out)]
    return main(["check_targets", *arguments])


@pytest.fixture(scope="module")
def run(write_run):
    return write_run({1: ["Colon", "Stomach", "Colon"], 2: ["Colon", "Breast"]}, FAMILIES)


def test_good_targets_are_described_with_their_ceiling(run, tmp_path) -> None:
    assert check(run, "digestive", tmp_path / "check.json") == 0

    document = read_document(tmp_path / "check.json", TargetCheck)
    assert document.n_tiles == 4
    assert document.n_nuclei == 9
    assert document.tiles_by_fold == {"1": 3, "2": 1}
    assert document.tiles_by_organ == {"Colon": 3, "Stomach": 1}
    assert document.nuclei_by_class["Neoplastic"] == 6
    assert set(document.oracle) == {"hovernet", "hv_flow"}
    assert all(oracle["aji"].value > 0.9 for oracle in document.oracle.values())
    assert all(oracle["aji"].n == 3 for oracle in document.oracle.values())
    assert document.hv_magnitude == pytest.approx(0.67, abs=0.02)
    assert document.provenance.simulated
    assert set(document.provenance.made_from) == {"targets_fold1", "targets_fold2"}, "other rows of a fold do not count"
    assert [one.name for one in document.checks] == ["hv", "np_coverage", "oracle_aji"]


def test_a_family_without_tiles_is_said_and_goes_on(run, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        assert check(run, "epidermal", tmp_path / "check.json") == 0

    document = read_document(tmp_path / "check.json", TargetCheck)
    assert document.n_tiles == 0
    assert math.isnan(document.coverage)
    assert all(math.isnan(oracle["aji"].value) for oracle in document.oracle.values())
    assert "family=epidermal has no nucleus in 0 tiles" in caplog.text


def test_a_failed_check_leaves_no_file(run, tmp_path, capsys) -> None:
    assert check(run, "digestive", tmp_path / "check.json", '{"np_coverage": [0.9, 0.95]}') == 1

    assert not (tmp_path / "check.json").exists()
    assert "check np_coverage failed: expected 0.9 to 0.95" in capsys.readouterr().err


def test_processes_find_what_one_process_finds(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("cellvit.inference.parallel.WORTH_A_POOL", 1)
    arguments = ["--settings", "{}", "--family", "digestive", "--targets", str(run.targets_of("digestive"))]

    for threads in (1, 2):
        out = str(tmp_path / f"{threads}.json")
        assert main(["check_targets", *arguments, "--out", out, "--threads", str(threads)]) == 0

    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
