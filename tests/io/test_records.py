"""Records of Snakemake travel with the results that they speak of."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cellvit.workflow.records import Records, keep_records, recall_records

from cellvit.errors import ContractError

SETTINGS, OTHER = ["'settings'"], ["'other settings'"]
SEAL, STORE, SUMMARY = "seals/tiles/fold1.json", "tiles/fold1.h5", "summary.csv"
LOG_OF = {
    SEAL: "logs/prepare_fold/fold1.log",
    STORE: "logs/prepare_fold/fold1.log",
    SUMMARY: "logs/summarize/summary.log",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which Snakemake is called, with the results of a finished run."""
    folder = tmp_path / "clone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in LOG_OF:
        made("results", name, f"what {name} holds")
    keep_records("results", Records.of_folder())
    return folder


def made(results: str, name: str, content: str, params: list[str] = SETTINGS) -> None:
    """A file, and what Snakemake records of the job that made it."""
    path = Path(results, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    checksums = {f"{results}/raw.npy": "sha256:ab", "raw/images.npy": "sha256:cd"}
    record = {"rule": "a_step", "params": params, "log": [f"{results}/{LOG_OF[name]}"], "input_checksums": checksums}
    Records.of_folder().write(f"{results}/{name}", {**record, "input": list(checksums), "record_format_version": 6})


def recorded(results: str, name: str) -> dict[str, Any] | None:
    return Records.of_folder().read(f"{results}/{name}")


def test_what_moved_is_known_where_it_lies_now(here: Path) -> None:
    Path("results").rename("moved")

    assert recall_records("moved", Records.of_folder()) == []

    for name, log in LOG_OF.items():
        record = recorded("moved", name)
        assert record is not None
        assert record["params"] == SETTINGS
        assert record["log"] == [f"moved/{log}"]
        assert record["input"] == ["moved/raw.npy", "raw/images.npy"]
        assert set(record["input_checksums"]) == {"moved/raw.npy", "raw/images.npy"}


def test_a_folder_with_the_same_beginning_is_not_taken_for_the_output_folder(here: Path) -> None:
    made("results", SUMMARY, "summary")
    record = recorded("results", SUMMARY)
    assert record is not None
    Records.of_folder().write(f"results/{SUMMARY}", {**record, "input": ["results_of_others/raw.npy"]})
    keep_records("results", Records.of_folder())
    Path("results").rename("moved")

    recall_records("moved", Records.of_folder())

    moved = recorded("moved", SUMMARY)
    assert moved is not None
    assert moved["input"] == ["results_of_others/raw.npy"]


def test_another_clone_knows_what_the_first_made(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "another"
    clone.mkdir()
    monkeypatch.chdir(clone)
    results = str(here / "results")

    assert recall_records(results, Records.of_folder()) == []

    record = recorded(results, SUMMARY)
    assert record is not None
    assert record["params"] == SETTINGS


def test_a_job_of_which_one_file_was_changed_is_known_for_none(here: Path) -> None:
    Path("results").rename("moved")
    Path("moved", SEAL).write_text("something else")

    unknown = recall_records("moved", Records.of_folder())

    assert unknown == [SEAL]
    assert recorded("moved", STORE) is None
    assert recorded("moved", SUMMARY) is not None


def test_records_of_files_that_lay_there_before_are_not_believed(here: Path) -> None:
    made("moved", SUMMARY, "an earlier run", OTHER)
    shutil.rmtree("moved")
    Path("results").rename("moved")
    Path("moved", SUMMARY).write_text("something else")

    assert recall_records("moved", Records.of_folder()) == [SUMMARY]
    assert recorded("moved", SUMMARY) is None


def test_what_is_not_known_is_told_until_it_is_recorded(here: Path) -> None:
    Path("results").rename("moved")
    Path("moved", SUMMARY).write_text("something else")

    first, second = (recall_records("moved", Records.of_folder()) for _ in range(2))
    made("moved", SUMMARY, "something else")
    keep_records("moved", Records.of_folder())

    assert first == second == [SUMMARY]
    assert recall_records("moved", Records.of_folder()) == []


def test_a_large_file_is_told_by_its_size(here: Path) -> None:
    made("results", STORE, "x" * 2_000_000)
    keep_records("results", Records.of_folder())
    Path("results").rename("moved")
    Path("moved", STORE).write_text("x" * 1_999_999)

    assert recall_records("moved", Records.of_folder()) == [SEAL]


def test_products_that_were_removed_leave_those_of_their_job_known(here: Path) -> None:
    Path("results", STORE).unlink()
    Path("results").rename("moved")

    assert recall_records("moved", Records.of_folder()) == []
    assert recorded("moved", SEAL) is not None


def test_records_of_this_folder_hold_while_nobody_else_wrote(here: Path) -> None:
    made("results", SUMMARY, "of a run that was killed", OTHER)

    assert recall_records("results", Records.of_folder()) == []

    record = recorded("results", SUMMARY)
    assert record is not None
    assert record["params"] == OTHER


def test_an_older_copy_brings_its_own_records(here: Path) -> None:
    Path("copy/.cellvit").mkdir(parents=True)
    Path("copy", SUMMARY).write_text(Path("results", SUMMARY).read_text())
    Path("copy/.cellvit/records.json").write_text(Path("results/.cellvit/records.json").read_text())
    made("results", SUMMARY, "a later run", OTHER)
    keep_records("results", Records.of_folder())
    Path("results").rename("later")
    Path("copy").rename("results")

    recall_records("results", Records.of_folder())

    record = recorded("results", SUMMARY)
    assert record is not None
    assert record["params"] == SETTINGS


def test_files_that_were_copied_in_any_order_have_one_time(here: Path) -> None:
    Path("results").rename("moved")
    for number, name in enumerate(LOG_OF, 1):
        os.utime(Path("moved", name), (number, number))

    recall_records("moved", Records.of_folder())

    assert len({Path("moved", name).stat().st_mtime_ns for name in LOG_OF}) == 1


def test_nothing_is_touched_where_nothing_moved(here: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")}

    recall_records("results", Records.of_folder())

    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")} == before


def test_nothing_is_done_beside_a_run_in_this_folder(here: Path) -> None:
    Path("results").rename("moved")
    Path(".snakemake/locks").mkdir(exist_ok=True)
    Path(".snakemake/locks/0.output.lock").write_text("moved/summary.csv\n")

    assert recall_records("moved", Records.of_folder()) == []
    assert recorded("moved", SUMMARY) is None


def test_the_output_of_an_unfinished_job_is_left_to_snakemake(here: Path) -> None:
    Path("results/.cellvit/records.json").unlink()
    path = "results/evaluation/split1/digestive.json"
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text("{}")
    assert recall_records("results", Records.of_folder()) == ["evaluation/split1/digestive.json"]

    Records.of_folder()._persistence._mark_incomplete(path, None)  # as Snakemake does when a job starts

    assert recall_records("results", Records.of_folder()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "cellvit-records", "version": 2, "records": {}}'])
def test_records_that_cannot_be_read_are_refused_with_the_remedy(here: Path, text: str) -> None:
    Path("results/.cellvit/records.json").write_text(text)

    with pytest.raises(
        ContractError, match=r"records\.json: holds no records .* && make verify && snakemake --touch --forceall"
    ):
        recall_records("results", Records.of_folder())
