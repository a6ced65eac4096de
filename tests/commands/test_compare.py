"""The command `compare`: what it prints and writes."""

import re
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import scores, write_run

from cellvit.__main__ import main
from cellvit.formats.comparison import ComparedRow
from cellvit.formats.digests import check_unchanged
from cellvit.formats.page import page_digest, read_page_provenance

PATIENTS = ("p1", "p2", "p3", "p4")
WEIGHT_2 = {"training": {"shared_decoder": False, "loss": {"hv_magnitude_weight": 2.0}}}


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Two runs that differ in one weight of the loss and in the scores of the decoder."""
    first = {"decoder": scores(PATIENTS, aji=(0.4, 0.6, 0.5, 0.7), dice=(0.8, 0.8, 0.8, 0.8))}
    second = {"decoder": scores(PATIENTS, aji=(0.5, 0.71, 0.6, 0.8), dice=(0.8, 0.8, 0.8, 0.8))}
    a, b = write_run(tmp_path / "weight1", first), write_run(tmp_path / "weight2", second, settings=WEIGHT_2)
    return str(a), str(b)


def test_two_runs_are_printed_with_settings_differences_and_the_correction(
    runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["compare", *runs, "--out", str(tmp_path / "out")])

    text = capsys.readouterr().out
    assert code == 0
    assert "  training.loss.hv_magnitude_weight: 1.0 in A, 2.0 in B\n" in text
    assert re.search(r"  aji +0\.550 +0\.653 +\+0\.103  \+0\.093 to \+0\.112 +4 +4  higher in B\n", text)
    assert re.search(r"  dice .*  equal\n", text)
    assert "2 comparisons of all systems: 2 higher in B, 0 lower in B, 0 not clear; " in text
    sentences = " ".join(text.split())
    assert "in all of these comparisons together (Holm's correction; over patients" in sentences
    assert "not the noise between trainings" in sentences
    assert max(map(len, text.replace(str(tmp_path), "").splitlines())) <= 100


def test_decoders_without_any_difference_are_one_line(
    runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compare", runs[0], runs[0], "--out", str(tmp_path / "out")])

    text = capsys.readouterr().out
    assert "No setting differs.\n\nNo difference on any tile: split 1, digestive; split 1, organ_predicted.\n" in text
    assert "0 comparisons of all systems" in text


def test_table_and_page_hold_every_row(runs: tuple[str, str], tmp_path: Path) -> None:
    main(["compare", *runs, "--out", str(tmp_path / "out")])

    table = pd.read_csv(tmp_path / "out/compare.csv")
    page = (tmp_path / "out/index.html").read_text()
    assert tuple(table.columns) == ComparedRow._fields
    assert set(table["family"]) == {"digestive", "organ_predicted"}
    assert "<td>1.0</td>" in re.sub(r"\s*class=\"\"|\s+(?=</td>)", "", page)
    assert page.count("higher in B</td>") == 2
    assert "split 1 · all test tiles, organ predicted" in page
    assert not re.search(r"https?://|<script", page)
    check_unchanged(tmp_path / "out/index.html", page_digest(tmp_path / "out/index.html"))
    assert set(read_page_provenance(tmp_path / "out/index.html").made_from) == {
        "../weight1/report/index.html",
        "../weight2/report/index.html",
    }


@pytest.mark.parametrize(("name", "found"), [("absent", "no such folder"), ("", "nothing")])
def test_a_folder_without_a_finished_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, found: str
) -> None:
    assert main(["compare", str(tmp_path / name), str(tmp_path)]) == 3
    page = tmp_path / name / "report/index.html"
    message = f"{page}: expected the page of a finished run, found {found}. Fix: correct the name of the folder"
    assert message in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--help"])

    assert "cellvit compare results results_weight2" in capsys.readouterr().out
