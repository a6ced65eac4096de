import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = ("--epochs", "1", "--widths", "4", "4", "4", "4", "4", "--stem", "none")


@pytest.fixture
def folds(tmp_path: Path, write_raw_fold: Callable[..., Path]) -> Path:
    for fold in (1, 2):
        write_raw_fold(tmp_path / "folds", fold, ["Colon", "Liver"])
    return tmp_path / "folds"


def test_every_way_and_input_size_is_trained_and_stands_in_the_table(repository, folds, tmp_path):
    command = [sys.executable, repository / "benchmarks/views.py", folds, *TINY, "--input-px", "112", "126"]

    done = subprocess.run([*command, "--keep", tmp_path / "kept"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| 1")]
    assert rows == [f"{px} px, {way}" for px in (112, 126) for way in ("turned", "stored", "none")]
    assert "random weights" in done.stdout
    assert (tmp_path / "kept/112/fold1.h5").exists()
