"""What a run ends with: at most 12 lines of at most 100 columns."""

from pathlib import Path

import pytest
from bundles import small_bundle

from cellvit.workflow.ending import error_in, failure_lines, success_lines


def test_a_run_ends_with_where_its_page_its_models_its_nuclei_and_its_values_are(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report/index.html").write_text("page")
    (tmp_path / "summary.txt").write_text("Verdict: better\nNext: train longer.\n\nsplit 1 ...\n")
    bundle = small_bundle(tmp_path)
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions/index.html").write_text("page")

    lines = success_lines(tmp_path, since=0, n_steps=61, seconds=351)

    assert lines == [
        "Finished: 61 steps in 6 min",
        f"Values:   {tmp_path}/summary.txt",
        f"Page:     {tmp_path}/report/index.html",
        f"Models:   {bundle}",
        f"Nuclei:   {tmp_path}/predictions/index.html",
        "Verdict: better",
        "Next: train longer.",
    ]


def test_a_long_conclusion_leaves_out_where_the_models_are(tmp_path: Path) -> None:
    small_bundle(tmp_path)
    (tmp_path / "summary.txt").write_text("a line\n" * 9 + "\n")
    (tmp_path / "report").mkdir()
    (tmp_path / "report/index.html").write_text("page")

    lines = success_lines(tmp_path, since=0, n_steps=61, seconds=351)

    assert len(lines) == 12
    assert lines.count("a line") == 9


def test_what_an_earlier_run_wrote_is_not_shown_again(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path)
    (tmp_path / "summary.txt").write_text("Verdict: better\n")

    lines = success_lines(tmp_path, since=bundle.stat().st_mtime + 1000, n_steps=2, seconds=3)

    assert lines == ["Finished: 2 steps in 3 s"]


def test_a_failed_run_names_the_step_its_log_its_error_and_how_to_resume(tmp_path: Path) -> None:
    log = tmp_path / "extract.log"
    log.write_text("12:00:00 INFO step=extract_features\nerror: weights: expected a file, found none. Fix: set it\n")

    lines = failure_lines([("Extract the features", log)], n_done=9, n_steps=61, seconds=100)

    assert lines == [
        "NOT FINISHED: 9 of 61 steps are done after 2 min; 1 failed.",
        "Failed:   Extract the features",
        f"Log:      {log}",
        "          error: weights: expected a file, found none. Fix: set it",
        "Resume:   follow the message above, then run the same command again; what is done is not repeated.",
    ]


def test_many_failed_steps_fit_into_twelve_lines(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    log.write_text("error: " + "a long sentence " * 100)

    lines = failure_lines([("Train", log)] * 9, n_done=1, n_steps=61, seconds=100)

    assert len(lines) <= 12
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 100
    assert "          and 6 more" in lines


def test_a_run_that_was_stopped_says_how_to_resume() -> None:
    first, last = failure_lines([], n_done=7, n_steps=25, seconds=300)

    assert first == "NOT FINISHED: 7 of 25 steps are done after 5 min; the run was stopped."
    assert last.startswith("Resume:   run the same command again")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            "12:00 INFO a\nerror: a.h5: no file\n  in row 3\n", ["error: a.h5: no file", "in row 3"], id="ours"
        ),
        pytest.param(
            "usage: cellvit x\ncellvit x: error: --a is needed\n", ["cellvit x: error: --a is needed"], id="usage"
        ),
        pytest.param("12:00 INFO a\nKilled\n", ["Killed"], id="killed"),
        pytest.param("", [], id="empty"),
        pytest.param("error: first\nINFO resumed\nerror: second\n", ["error: second"], id="the_last"),
    ],
)
def test_the_error_is_the_last_one_of_the_log(tmp_path: Path, text: str, found: list[str]) -> None:
    log = tmp_path / "step.log"
    log.write_text(text)

    assert [line.strip() for line in error_in(log)] == found


def test_a_step_that_was_killed_says_so_before_its_last_line(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    log.write_text("12:00:00 INFO step=extract_features\n12:00:05 INFO computing on the CPU\n")

    lines = error_in(log)

    assert lines[0].startswith("The log has no error: something ended the step from outside.")
    assert lines[-1] == "12:00:05 INFO computing on the CPU"
    assert len(lines) <= 5


def test_of_a_long_error_the_fix_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    log.write_text("error: a.json: " + "a long sentence " * 40 + "\nFix: rm a.json, then run it again\n")

    lines = error_in(log)

    assert len(lines) == 5
    assert lines[0].startswith("error: a.json: a long sentence")
    assert lines[-2:] == ["...", "Fix: rm a.json, then run it again"]


def test_a_log_that_is_missing_has_no_error(tmp_path: Path) -> None:
    assert error_in(tmp_path / "none.log") == []
    assert error_in(None) == []
