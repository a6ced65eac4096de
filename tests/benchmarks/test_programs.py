import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = sorted(path.name for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py"))

SMALLEST = {
    "extract.py": (("--tiles", "2", "--rounds", "1", "--read-tiles", "2"), "| the same with images and ground truth |"),
    "memory.py": (("--tiles", "2", "--batch", "2"), "2 training tiles"),
    "train.py": (
        ("--tiles", "2", "--batch", "2", "--epochs", "1", "--rounds", "1", "--widths", "4", "4", "4", "4", "4"),
        "| this |",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_import_of_a_program_exists(repository, monkeypatch, name):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))

    names = runpy.run_path(str(repository / "benchmarks" / name))

    assert names["__doc__"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_program_runs_with_its_smallest_sizes(repository, name):
    arguments, expected = SMALLEST[name]

    done = subprocess.run(
        [sys.executable, repository / "benchmarks" / name, *arguments], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


@pytest.fixture
def folds(tmp_path: Path, write_raw_fold: Callable[..., Path]) -> Path:
    for fold in (1, 2):
        write_raw_fold(tmp_path / "folds", fold, ["Colon", "Liver"])
    return tmp_path / "folds"


def test_views_trains_every_way_and_input_size(repository, folds, tmp_path):
    tiny = ("--epochs", "1", "--widths", "4", "4", "4", "4", "4", "--stem", "none", "--input-px", "112", "126")
    command = [sys.executable, repository / "benchmarks/views.py", folds, *tiny, "--keep", tmp_path / "kept"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| 1")]
    assert rows == [f"{px} px, {way}" for px in (112, 126) for way in ("rotated", "stored", "none")]
    assert "random weights" in done.stdout
    assert (tmp_path / "kept/112/fold1.h5").exists()
