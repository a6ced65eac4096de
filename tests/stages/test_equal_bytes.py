"""Equal inputs give equal bytes in every file, whatever the number of cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "helpers" / "small_stages.py"


def written(root: Path, threads: int) -> dict[str, bytes]:
    """Every file of the small case, computed with this number of threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(PROGRAM.parents[2])}
    subprocess.run(
        [sys.executable, str(PROGRAM), str(root), str(threads)], env=environment, check=True, capture_output=True
    )
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_every_file_of_a_small_case_is_the_same_with_one_and_with_two_threads(tmp_path: Path) -> None:
    one, two = (written(tmp_path / str(threads), threads) for threads in (1, 2))

    assert len(one) > 25
    assert [name for name in one if one[name] != two.get(name)] == []
    assert one.keys() == two.keys()


EIGENVECTORS = """
import cellvit.__main__
import hashlib, sys
import numpy as np
tokens = np.random.default_rng(0).normal(size=(300, 592))
sys.stdout.write(hashlib.sha256(np.linalg.eigh(tokens.T @ tokens).eigenvectors.tobytes()).hexdigest())
"""
"""What the novelty model computes, as a step does: with `cellvit.__main__` loaded first."""


def test_matrices_of_numpy_are_the_same_with_one_and_with_two_threads() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", EIGENVECTORS],
            env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(PROGRAM.parents[2])},
            check=True,
            capture_output=True,
        ).stdout
        for threads in ("1", "2")
    }

    assert len(found) == 1
