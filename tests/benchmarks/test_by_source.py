"""Two runs compared on the test tiles of each source."""

import subprocess
import sys
from pathlib import Path

import pytest
from finished_runs import scores, write_run

from cellvit.formats.tile_table import TileScores


def test_runs_are_paired_by_tile(repository, tmp_path):
    patients, aji = ["a", "b", "c", "c"], [0.5, 0.6, 0.7, 0.8]
    first = write_run(tmp_path / "a", {"decoder": scores(patients, aji=aji, bpq=aji)})
    second = write_run(tmp_path / "b", {"decoder": scores(patients[:3], aji=[0.4, 0.4, 0.4], bpq=[0.6, 0.6, 0.6])})

    cells = cells_of(repository, first, second)

    assert cells[:4] == ["1", "tiles without a source", "3", "0.600 and 0.400"]
    assert cells[4].startswith("+0.200 (")
    assert cells[6].startswith("+0.000 (")


def test_splits_joined_by_a_plus_sign_are_one_row_of_all_their_tiles(repository, tmp_path):
    first = write_splits(tmp_path / "a", {"1": [0.5, 0.7], "2": [0.9, 0.9]})
    second = write_splits(tmp_path / "b", {"1": [0.4, 0.6], "2": [0.7, 0.7]})

    cells = cells_of(repository, first, second, "--splits", "1+2")

    assert cells[:4] == ["1+2", "tiles without a source", "4", "0.750 and 0.600"]
    assert cells[4].startswith("+0.150 (")


def test_runs_joined_by_a_plus_sign_are_averaged_on_each_tile(repository, tmp_path):
    runs = [
        write_run(tmp_path / name, {"decoder": scores(["a", "b", "c"], aji=aji, bpq=aji)})
        for name, aji in (("a", [0.5, 0.6, 0.7]), ("b", [0.7, 0.8, 0.9]), ("c", [0.5, 0.5, 0.5]))
    ]

    first, second = f"{runs[0]}+{runs[1]}", str(runs[2])

    assert cells_of(repository, first, second)[2:4] == ["3", "0.700 and 0.500"]
    assert cells_of(repository, second, first)[2:4] == ["3", "0.500 and 0.700"]


def test_averaged_runs_must_test_the_same_tiles(repository, tmp_path):
    three = write_run(tmp_path / "a", {"decoder": scores(["a", "b", "c"], aji=[0.5, 0.6, 0.7])})
    two = write_run(tmp_path / "b", {"decoder": scores(["a", "b"], aji=[0.5, 0.6])})

    with pytest.raises(AssertionError, match="expected the same test tiles"):
        cells_of(repository, f"{three}+{two}", str(three))


def test_joined_splits_must_test_different_tiles(repository, tmp_path):
    run = write_run(tmp_path / "a", {"decoder": scores(["a", "b", "c"], aji=[0.5, 0.6, 0.7])})

    with pytest.raises(AssertionError, match="found a tile that has several"):
        cells_of(repository, run, run, "--splits", "1+1")


def write_splits(run: Path, aji_of_split: dict[str, list[float]]) -> Path:
    """A run of several splits with tiles and patients of their own."""
    for split, aji in aji_of_split.items():
        of_split = scores([f"{split}{number}" for number in range(len(aji))], aji=aji, bpq=aji)
        table = of_split.table.assign(tile_id=[f"f{split}-{row:05d}" for row in range(len(aji))])
        written = write_run(run / "parts" / split, {"decoder": TileScores(table)})
        (run / "evaluation").mkdir(parents=True, exist_ok=True)
        (written / "evaluation" / "split1").rename(run / "evaluation" / f"split{split}")
    return run


def cells_of(repository: Path, first: Path | str, second: Path | str, *arguments: str) -> list[str]:
    """The cells of the last row of the table."""
    command = [
        sys.executable,
        repository / "benchmarks/by_source.py",
        first,
        second,
        "--family",
        "digestive",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")[1:-1]]
