"""Two runs compared on the test tiles of each source."""

import subprocess
import sys

from finished_runs import scores, write_run


def test_runs_are_paired_by_tile(repository, tmp_path):
    patients, aji = ["a", "b", "c", "c"], [0.5, 0.6, 0.7, 0.8]
    first = write_run(tmp_path / "a", {"decoder": scores(patients, aji=aji, bpq=aji)})
    second = write_run(tmp_path / "b", {"decoder": scores(patients[:3], aji=[0.4, 0.4, 0.4], bpq=[0.6, 0.6, 0.6])})
    command = [sys.executable, repository / "benchmarks/by_source.py", first, second, "--family", "digestive"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")[1:-1]]
    assert cells[:4] == ["1", "tiles without a source", "3", "0.600 and 0.400"]
    assert cells[4].startswith("+0.200 (")
    assert cells[6].startswith("+0.000 (")
