"""``python -m cellvit`` in processes of its own, on pretend GPUs."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from pretend_gpus import FIRST, HOLD, SECOND, TWO, environment, first_line, locks, start

from cellvit.__main__ import ORDER
from cellvit.config.settings import Settings
from cellvit.config.steps import step_settings

ONE = TWO.splitlines(keepends=True)[0]


@pytest.fixture
def extraction(tmp_path: Path, write_tile_store: Callable[..., Path]) -> Callable[[str], list[str]]:
    """Command of a real extraction of one tile with that --device."""
    tiles = write_tile_store(tmp_path / "tiles.h5", 1, ["Colon"])

    settings = step_settings(Settings(encoder={"preset": "tiny-vit", "weights": "random"}), "extract_features")

    def command(device: str) -> list[str]:
        files = ["--tiles", str(tiles), "--check", str(tiles), "--features", str(tmp_path / "features" / "fold1.h5")]
        step = [sys.executable, "-m", "cellvit", "extract_features", "--settings", settings]
        return [*step, *files, "--device", device]

    return command


def run(command: list[str], machine: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=machine, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def held(machine: dict[str, str]) -> Iterator[None]:
    """Another process holds a GPU meanwhile."""
    holder = start(HOLD, machine)
    first_line(holder)
    try:
        yield
    finally:
        holder.communicate("")


@pytest.mark.slow
def test_a_step_takes_a_gpu_that_is_free(tmp_path: Path, extraction: Callable[[str], list[str]]) -> None:
    machine = environment(tmp_path)

    with held(machine):
        done = run(extraction("auto"), machine)

    assert done.returncode == 0, done.stderr
    assert f"this step has a GPU for itself gpu=1 Pretend P1 {SECOND}" in done.stderr
    assert (locks(tmp_path) / FIRST).exists()


@pytest.mark.slow
def test_a_step_on_the_cpu_takes_none(tmp_path: Path, extraction: Callable[[str], list[str]]) -> None:
    done = run(extraction("cpu"), environment(tmp_path))

    assert done.returncode == 0, done.stderr
    assert not locks(tmp_path).exists()


def test_help_waits_for_no_gpu(tmp_path: Path) -> None:
    machine = environment(tmp_path, ONE)

    with held(machine):
        done = run([sys.executable, "-m", "cellvit", "train_hovernet", "--device", "cuda", "--help"], machine)

    assert done.returncode == 0
    assert "--device" in done.stdout


def test_a_step_without_a_device_takes_none(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "cellvit", "prepare_fold"], environment(tmp_path))

    assert "the following arguments are required" in done.stderr
    assert not locks(tmp_path).exists()


def test_a_wrong_choice_of_devices_is_one_message(tmp_path: Path, extraction: Callable[[str], list[str]]) -> None:
    done = run(extraction("auto"), environment(tmp_path, CUDA_VISIBLE_DEVICES="7"))

    assert done.returncode == 2
    assert "error: CUDA_VISIBLE_DEVICES=7: no device is named '7'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_says_what_to_do(tmp_path: Path, extraction: Callable[[str], list[str]]) -> None:
    done = run(extraction("cuda"), environment(tmp_path, listing=""))

    assert done.returncode == 3
    assert "device: auto or cpu; or check nvidia-smi" in done.stderr
    assert not locks(tmp_path).exists()


def printed_by(*words: str) -> str:
    command = [sys.executable, "-m", "cellvit", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_help_lists_commands_for_people_first_and_steps_as_names_alone() -> None:
    text = printed_by("--help")

    assert (
        text.index("  doctor ")
        < text.index("  predict ")
        < text.index("  settings ")
        < text.index("steps of the graph")
    )
    assert text.count("prepare_fold") == 1
    assert "tile store" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("command", [path.stem for path in Path("cellvit/commands").glob("[a-z]*.py")])
def test_each_command_has_an_example_and_a_place_in_the_help(command: str) -> None:
    text = ast.get_docstring(ast.parse(Path(f"cellvit/commands/{command}.py").read_text())) or ""

    assert f"Example: cellvit {command}" in text
    assert command in ORDER
    assert len(text.splitlines()[0]) <= 100


def test_the_help_of_a_command_ends_with_its_example() -> None:
    assert printed_by("verify", "--help").rstrip().endswith("Example: cellvit verify --configfile mine.yaml")
