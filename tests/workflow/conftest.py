"""A small run of the whole graph through the real Snakemake, in a copy of the repository."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cellvit.data.pannuke import SIMULATED_MARK, fold_files
from cellvit.data.simulate.fold import Plan, make_tile

PARTS = ("Snakefile", "config.yaml", "rules", "profiles", "envs", "cellvit", "pyproject.toml")

ORGANS = {
    1: ["Colon", "Breast", "Colon", "Stomach", "Breast"],
    2: ["Colon", "Breast", "Stomach"],
    3: ["Colon", "Lung", "Breast", "Colon"],
}
"""Glandular and digestive everywhere, respiratory in the test fold alone, epidermal nowhere."""

PATIENTS = {3: ["p1", "p1", "p2", "p3"]}
"""The test fold alone names them."""

SETTINGS = """\
data: {root: raw}
families: {urologic: null}
splits: {"2": null, "3": null}
encoder: {preset: tiny-vit, weights: random}
organ_head: {epochs: 5}
decoder: {widths: [16, 12, 8, 8, 8], stem_widths: [4, 8]}
training: {epochs: 2, bpq_every: 1, batch_size: 2, learning_rate: 1.0e-3}
watershed: {np_threshold: [0.5], hv_threshold: [0.4, 0.5], min_object_px: [10]}
"""


@dataclass(frozen=True)
class Workshop:
    """A copy of the repository with small simulated folds in raw/."""

    home: Path

    @property
    def results(self) -> Path:
        return self.home / "results"

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real Snakemake with the small settings."""
        command = ["snakemake", "--configfile", "small.yaml", "--workflow-profile", "profiles/default", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)

    def planned(self, *arguments: str) -> Counter[str]:
        """Jobs by rule that a dry run would start."""
        done = self.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stderr
        table = re.search(r"^job +count\n[- ]+\n(.*?)^total", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
        rows = re.findall(r"^(\w+) +(\d+)$", table.group(1), re.MULTILINE) if table else []
        jobs = Counter({rule: int(count) for rule, count in rows})
        jobs.pop("report", None)  # the target itself is no step
        return jobs

    def raw(self, fold: int) -> dict[str, Path]:
        return fold_files(self.home / "raw", fold).inputs

    def patients(self, fold: int) -> Path:
        """Where the patients of a fold are named, if they are."""
        return fold_files(self.home / "raw", fold).patients


def write_raw(root: Path, fold: int, organs: Sequence[str], patients: Sequence[str] = ()) -> None:
    files = fold_files(root, fold)
    for path in files.by_name.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    tiles = [make_tile(Plan(organ, empty=False), fold, row, seed=0) for row, organ in enumerate(organs)]
    np.save(files.images, np.stack([tile.image for tile in tiles]).astype(np.float64))
    np.save(files.masks, np.stack([tile.masks for tile in tiles]).astype(np.float64))
    np.save(files.types, np.array(organs))
    if patients:
        np.save(files.patients, np.array(patients))
    (root / f"Fold {fold}" / SIMULATED_MARK).write_text("{}")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Workshop:
    """The workshop before any run."""
    home = tmp_path_factory.mktemp("workshop")
    for part in PARTS:
        source = repository / part
        if source.is_dir():
            shutil.copytree(source, home / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, home / part)
    (home / "small.yaml").write_text(SETTINGS)
    for fold, organs in ORGANS.items():
        write_raw(home / "raw", fold, organs, PATIENTS.get(fold, ()))
    return Workshop(home)


@pytest.fixture(scope="session")
def finished(workshop: Workshop) -> Workshop:
    """The workshop after one complete run."""
    done = workshop.snakemake("--cores", "2")
    assert done.returncode == 0, done.stderr[-6000:]
    return workshop
