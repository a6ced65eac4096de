"""Running a step: its options, its key, and the reuse of its result."""

import argparse
import importlib
import logging
import sys
from pathlib import Path

import h5py
import pytest

import cellvit.stages
from cellvit.errors import IntegrityError, SettingsError
from cellvit.formats.timing import read_timings
from cellvit.workflow.arguments import add_options, check_paired, fields_of, option_kinds, parsed
from cellvit.workflow.step import run_step

STAGES = Path(cellvit.stages.__file__).parent

SOURCE = '''
"""Stage `copy`: files -> their texts, repeated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cellvit.config.base import Section
from cellvit.workflow.arguments import Code, How, Input, Output, Setting, Through

IMPORTED = print("the step was imported")


class Scale(Section):
    factor: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    settings: Annotated[Scale, Setting("JSON")]
    inputs: Annotated[tuple[Path, ...], Input("files")]
    out: Annotated[Path, Output("file to write")]
    folds: Annotated[tuple[int, ...], Setting("folds")] = ()
    upstream: Annotated[Path | None, Through("a file whose content is known otherwise")] = None
    batch_size: Annotated[int | Literal["auto"], How("tiles")] = "auto"
    code: Code = ""


def run(arguments: Arguments) -> None:
    text = "".join(path.read_text() for path in arguments.inputs)
    arguments.out.write_text(text * arguments.settings.factor)
'''


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The module of a small step, which is found where steps are."""
    path = tmp_path / "stages" / "copy.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    monkeypatch.setattr(cellvit.stages, "__path__", [*cellvit.stages.__path__, str(path.parent)])
    yield path
    sys.modules.pop("cellvit.stages.copy", None)


@pytest.fixture
def call(tmp_path, caplog, source):
    """Call the step with options over the usual ones; whether it was computed."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")

    def called(*options: str, results: str = "results") -> bool:
        (tmp_path / results).mkdir(exist_ok=True)
        usual = ["--settings", "{}", "--inputs", f"{tmp_path}/a.txt", "--out", f"{tmp_path}/{results}/out.txt"]
        timing = ["--timing", f"{tmp_path}/{results}/timings/copy/job.json", "--cache", f"{tmp_path}/cache"]
        caplog.clear()
        with caplog.at_level(logging.INFO):
            run_step(source, [*usual, *timing, *options], holds_gpu=False)
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
        pytest.param(["--upstream", "{tmp}/b.txt"], False, id="a_file_that_is_known_otherwise"),
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


def test_a_reused_result_imports_nothing_of_its_step(call, capsys):
    call()
    sys.modules.pop("cellvit.stages.copy")
    capsys.readouterr()

    call()

    assert "the step was imported" not in capsys.readouterr().out


@pytest.mark.parametrize("step", sorted(path.stem for path in STAGES.glob("[a-z]*.py")))
def test_the_kinds_of_options_that_are_read_from_the_source_are_those_of_the_step(step):
    arguments = importlib.import_module(f"cellvit.stages.{step}").Arguments

    assert option_kinds(STAGES / f"{step}.py") == {field.name: type(field.option) for field in fields_of(arguments)}


def test_arguments_are_typed_and_faults_name_the_option(source):
    arguments = importlib.import_module("cellvit.stages.copy").Arguments
    parser = argparse.ArgumentParser()
    add_options(parser, arguments)
    given = parser.parse_args(["--settings", "{}", "--inputs", "a", "b", "--out", "c", "--folds", "1", "--upstream"])
    wrong = parser.parse_args(["--settings", '{"factors": 1}', "--inputs", "a", "--out", "c"])

    found = parsed(arguments, given)

    assert found.inputs == (Path("a"), Path("b"))
    assert (found.folds, found.upstream) == ((1,), None)
    with pytest.raises(SettingsError, match="--settings: factors"):
        parsed(arguments, wrong)


def test_lists_that_belong_together_have_one_length():
    with pytest.raises(
        SettingsError, match=r"--family-tiles: expected one entry for each of --checkpoints.* 2, found 1"
    ):
        check_paired(checkpoints=["a", "b"], family_tiles=["c"])


@pytest.mark.parametrize("option", ["--inputs", "--upstream"])
@pytest.mark.parametrize("cached", [True, False], ids=["with_cache", "without_cache"])
def test_a_store_whose_rows_were_changed_is_refused_before_the_step_reads_it(
    tmp_path, source, write_tile_store, option, cached
):
    store = write_tile_store(tmp_path / "fold1.h5", 1, ["Colon"] * 3)
    (tmp_path / "a.txt").write_text("a")
    options = ["--settings", "{}", "--inputs", f"{tmp_path}/a.txt", "--out", f"{tmp_path}/out.txt", option, str(store)]
    options += ["--cache", f"{tmp_path}/cache"] if cached else []
    with h5py.File(store, "r+") as file:
        file["image"][1] = 0

    with pytest.raises(IntegrityError, match=r"fold1\.h5: 1 rows were changed after they were written \(rows 1\)"):
        run_step(source, options, holds_gpu=False)

    assert not (tmp_path / "out.txt").exists()
