import importlib
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvit.errors import MissingInputError
from cellvit.hover.encode import hv_maps

TINY = ("--nuclei", "5", "--tiles-each", "1", "--repeats", "1", "--fold-tiles", "4", "--hv-tiles", "9")

FAKE_METRICS = """\
from a_package_that_is_not_installed import njit

def remap_label(pred):
    return pred

def binarize(x):
    return x.max(axis=2)

def get_fast_pq(true, pred):
    return [1.0, 1.0, 0.123], []
"""
"""An imitation of PanNuke-metrics with wrong results."""


@pytest.fixture
def kernels(repository) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the benchmark with its smallest sizes."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, repository / "benchmarks/kernels.py", *TINY, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def peers(repository) -> dict[str, Any]:
    """Names of benchmarks/peers.py."""
    return runpy.run_path(str(repository / "benchmarks/peers.py"))


def test_without_checkouts_only_our_functions_are_timed(kernels, tmp_path):
    page = tmp_path / "page.md"
    marks = [f"<!-- {words} of benchmarks/kernels.py -->" for words in ("tables", "end of tables")]
    page.write_text(f"before\n{marks[0]}\nold row\n{marks[1]}\nafter\n")

    done = kernels("--out", page)

    assert done.returncode == 0, done.stderr
    assert "### 5 nuclei per tile" in done.stdout
    assert "| metrics of 4 tiles, detection included |" in done.stdout
    assert "no checkout was given: HoVer-Net, CellViT, PanNuke-metrics, cellseg_models" in done.stdout
    assert page.read_text() == f"before\n{marks[0]}\n\n{done.stdout}\n{marks[1]}\nafter\n"


def test_different_results_of_another_project_are_shown_and_fail_the_run(kernels, tmp_path):
    (tmp_path / "utils.py").write_text(FAKE_METRICS)

    done = kernels("--pannuke-metrics", tmp_path)

    assert done.returncode == 1
    assert "| PanNuke-metrics `run.py` |" in done.stdout
    assert "**differs**" in done.stdout
    assert "results differ task='bPQ and five class PQs'" in done.stderr


def test_a_folder_that_is_no_checkout_is_refused_with_the_commit_to_use(kernels, tmp_path):
    done = kernels("--hover-net", tmp_path)

    assert done.returncode == 2
    assert "misc/utils.py: no such file; it should define get_bounding_box" in done.stderr
    assert "checkout 67e2ce5e" in done.stderr
    assert "Traceback" not in done.stderr


def test_hv_maps_of_a_rounded_centre_are_distinguished_from_wrong_ones(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    checks, tiles = (importlib.import_module(name) for name in ("kernel_checks", "kernel_tiles"))
    cases = tiles.synthetic_cases(5, 1, np.random.default_rng(0))
    ours = [hv_maps(cases[0].true.instances[None])[0]]
    rounded = checks.plain_hv(cases[0].true.instances, rounded=True)

    explained = checks.explained_hv(splits=False)(cases, ours, [rounded])
    wrong = checks.explained_hv(splits=False)(cases, ours, [rounded[::-1]])

    assert explained.holds
    assert "differs by the rounded centre alone" in explained.text
    assert not wrong.holds
    assert wrong.text.startswith("**differs**: 5 of 5 nuclei")


def test_a_function_runs_with_its_helpers_without_the_imports_of_its_file(peers, tmp_path):
    source = tmp_path / "theirs.py"
    source.write_text(
        "import not_installed\n"
        "def helper(x):\n    return np.sum(x)\n"
        "class Dataset:\n"
        "    @staticmethod\n"
        "    def mean(x: not_installed.Array) -> not_installed.Array:\n        return helper(x) / len(x)\n"
    )
    space = dict(peers["LIBRARIES"])

    peers["extract"](source, ["helper"], space, peers["HOVER_NET"])
    (mean,) = peers["extract"](source, ["mean"], space, peers["HOVER_NET"])

    assert mean([1, 2, 6]) == 3


def test_the_error_for_a_missing_function_names_the_file_and_the_fix(peers, tmp_path):
    source = tmp_path / "theirs.py"
    source.write_text("def other():\n    pass\n")

    with pytest.raises(MissingInputError, match=r"theirs\.py: CellViT has no function wanted in this file") as caught:
        peers["extract"](source, ["other", "wanted"], {}, peers["CELLVIT"])

    assert f"git -C <checkout of {peers['CELLVIT'].url}> checkout {peers['CELLVIT'].commit}" in str(caught.value)
