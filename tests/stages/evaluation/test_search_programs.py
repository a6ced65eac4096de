"""The benchmarks of the search for decoding parameters, on a small run."""

import subprocess
import sys
from pathlib import Path

import pytest

FAMILIES = {"all": ("Colon", "Stomach")}
PATIENTS = {1: ["a", "b"], 2: ["c", "c", "d", "d"]}


@pytest.fixture(scope="module")
def finished(write_run) -> Path:
    run = write_run({1: ["Colon"] * 2, 2: ["Colon", "Stomach", "Colon", "Stomach"]}, FAMILIES, PATIENTS)
    run.write_decoder("all")
    of_split = run.root / "checkpoints/split1"
    of_split.mkdir()
    run.checkpoint("all").rename(of_split / "hovernet_all.safetensors")
    return run.root


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        ("tuning.py", ("--families", "all", "--noises"), "| all | 4 | bpq |"),
        ("tuning_patients.py", ("--patients", "1"), "| 1 | 2 | 2 |"),
    ],
)
def test_a_program_compares_the_search_on_the_maps_of_a_run(repository, finished, program, arguments, expected) -> None:
    command = [sys.executable, repository / "benchmarks" / program, finished, *arguments]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)

    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
