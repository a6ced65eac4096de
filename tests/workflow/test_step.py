"""Running a step: its options, its key, and the reuse of its result."""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest

from cellvit.config.base import Section
from cellvit.errors import SettingsError
from cellvit.formats.timing import read_timings
from cellvit.workflow.arguments import How, Input, Output, Setting, Through, add_options, check_paired, parsed
from cellvit.workflow.step import add_step_options, result_key, run_step


class Scale(Section):
    """Settings of the step below."""

    factor: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """A step that copies its inputs."""

    settings: Annotated[Scale, Setting("JSON")]
    inputs: Annotated[tuple[Path, ...], Input("files")]
    out: Annotated[Path, Output("file to write")]
    folds: Annotated[tuple[int, ...], Setting("folds")] = ()
    behind: Annotated[Path | None, Through("a file whose content is known otherwise")] = None
    batch_size: Annotated[int | Literal["auto"], How("tiles")] = "auto"
    code: Annotated[str, Setting("fingerprint")] = ""


def run(arguments: Arguments) -> None:
    text = "".join(path.read_text() for path in arguments.inputs)
    arguments.out.write_text(text * arguments.settings.factor)


STEP = SimpleNamespace(Arguments=Arguments, run=run)


@pytest.fixture
def call(tmp_path, caplog):
    """Call the step with options over the usual ones; whether it was computed."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")

    def called(*options: str, results: str = "results") -> bool:
        (tmp_path / results).mkdir(exist_ok=True)
        usual = ["--settings", "{}", "--inputs", f"{tmp_path}/a.txt", "--out", f"{tmp_path}/{results}/out.txt"]
        timing = ["--timing", f"{tmp_path}/{results}/timings/copy/job.json", "--cache", f"{tmp_path}/cache"]
        parser = argparse.ArgumentParser()
        add_step_options(parser, STEP)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            run_step("copy", STEP, parser.parse_args([*usual, *timing, *options]), holds_gpu=False)
        return "reused an earlier result" not in caplog.text

    return called


def test_a_repeated_call_is_served_from_the_cache_with_the_timing_of_the_first(call, tmp_path):
    computed = call()
    timing = tmp_path / "results/timings/copy/job.json"
    first = timing.read_text()
    for path in (timing, tmp_path / "results/out.txt"):
        path.unlink()

    again = call()

    assert (computed, again) == (True, False)
    assert (tmp_path / "results/out.txt").read_text() == "aa"
    assert timing.read_text() == first
    assert read_timings([timing])[0].job == "job"


@pytest.mark.parametrize(
    ("options", "computes"),
    [
        pytest.param(["--settings", '{"factor": 3}'], True, id="other_settings"),
        pytest.param(["--folds", "1", "2"], True, id="other_folds"),
        pytest.param(["--code", "f00"], True, id="other_code"),
        pytest.param(["--batch-size", "4"], False, id="how_it_is_computed"),
        pytest.param(["--behind", "{tmp}/b.txt"], False, id="a_file_that_is_known_otherwise"),
    ],
)
def test_what_decides_the_result_is_part_of_its_key(call, tmp_path, options, computes):
    call()

    assert call(*(option.format(tmp=tmp_path) if "tmp" in option else option for option in options)) == computes


def test_changed_input_is_computed_and_changed_back_is_reused(call, tmp_path):
    call()
    (tmp_path / "a.txt").write_text("c")
    changed = call()
    (tmp_path / "a.txt").write_text("a")
    back = call()

    assert (changed, back) == (True, False)
    assert (tmp_path / "results/out.txt").read_text() == "aa"


def test_two_output_folders_share_results(call):
    call(results="one")

    assert not call(results="two")


def test_a_failed_step_adds_nothing_to_the_cache(call, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        call("--inputs", str(tmp_path / "folder"))

    assert [path.name for path in (tmp_path / "cache").glob("[!.]*/entry.json")] == []


def test_the_content_of_a_document_leaves_its_provenance_out(tmp_path):
    def document(name: str, *, software: str, value: int, simulated: bool) -> Path:
        provenance = {"software": software, "simulated": simulated}
        path = tmp_path / name
        path.write_text(json.dumps({"value": value, "provenance": provenance, "sha256": name}))
        return path

    def key(path: Path) -> str:
        return result_key("copy", Arguments(settings=Scale(), inputs=(path,), out=tmp_path / "out"))

    first = key(document("a.json", software="1", value=1, simulated=False))

    assert first == key(document("b.json", software="2", value=1, simulated=False))
    assert first != key(document("c.json", software="1", value=2, simulated=False))
    assert first != key(document("d.json", software="1", value=1, simulated=True)), "marks are handed on"


def test_arguments_are_typed_and_faults_name_the_option():
    parser = argparse.ArgumentParser()
    add_options(parser, Arguments)
    given = parser.parse_args(["--settings", "{}", "--inputs", "a", "b", "--out", "c", "--folds", "1", "--behind"])
    wrong = parser.parse_args(["--settings", '{"factors": 1}', "--inputs", "a", "--out", "c"])

    arguments = parsed(Arguments, given)

    assert arguments.inputs == (Path("a"), Path("b"))
    assert arguments.folds == (1,)
    assert arguments.behind is None
    with pytest.raises(SettingsError, match="--settings: factors"):
        parsed(Arguments, wrong)


def test_lists_that_belong_together_have_one_length():
    with pytest.raises(
        SettingsError, match=r"--family-tiles: expected one entry for each of --checkpoints.* 2, found 1"
    ):
        check_paired(checkpoints=["a", "b"], family_tiles=["c"])
