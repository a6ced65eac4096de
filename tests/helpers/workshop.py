"""A copy of the repository in which a small case runs through the real Snakemake."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import yaml

from cellvit.data.pannuke import SIMULATED_MARK, fold_files
from cellvit.data.simulate.fold import Plan, make_tile

PARTS = ("Snakefile", "config.yaml", "rules", "profiles", "envs", "cellvit", "pyproject.toml")


NO_PATIENTS: Mapping[int, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True)
class Workshop:
    """A copy of the repository with small simulated folds in raw/."""

    home: Path

    @property
    def results(self) -> Path:
        """Where the settings put the output."""
        return self.home / yaml.safe_load((self.home / "small.yaml").read_text()).get("results", "results")

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real Snakemake with the small settings."""
        command = ["snakemake", "--configfile", "small.yaml", "--workflow-profile", "profiles/default", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.home)}
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start the real Snakemake with the small settings, and do not wait."""
        command = ["snakemake", "--configfile", "small.yaml", "--workflow-profile", "profiles/default", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.home)}
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.home, env=environment, stdout=quiet, stderr=quiet)

    def ran(self, *arguments: str, results: str = "") -> dict[str, str]:
        """Run what is needed to its end; for each job that ran whether it was ``computed`` or ``reused``."""
        logs = (self.home / results if results else self.results) / "logs"
        before = {path: path.stat().st_mtime_ns for path in logs.rglob("*.log")}
        done = self.snakemake("--cores", "2", *arguments)
        assert done.returncode == 0, done.stderr[-6000:]
        return {
            str(path.relative_to(logs).with_suffix("")): (
                "reused" if "reused an earlier result" in path.read_text() else "computed"
            )
            for path in logs.rglob("*.log")
            if before.get(path) != path.stat().st_mtime_ns
        }

    def planned(self, *arguments: str) -> Counter[str]:
        """Jobs by rule that a dry run would start."""
        done = self.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stderr
        table = re.search(r"^job +count\n[- ]+\n(.*?)^total", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
        rows = re.findall(r"^(\w+) +(\d+)$", table.group(1), re.MULTILINE) if table else []
        jobs = Counter({rule: int(count) for rule, count in rows})
        jobs.pop("report", None)  # the target itself is no step
        return jobs

    def cellvit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of our own commands."""
        command = [sys.executable, "-m", "cellvit", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.home)}
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)

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


def make_workshop(
    home: Path,
    repository: Path,
    settings: str,
    organs: Mapping[int, Sequence[str]],
    patients: Mapping[int, Sequence[str]] = NO_PATIENTS,
) -> Workshop:
    """The repository's parts, the settings and raw folds of simulated tiles; nothing has run yet."""
    for part in PARTS:
        source = repository / part
        if source.is_dir():
            shutil.copytree(source, home / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, home / part)
    (home / "small.yaml").write_text(settings)
    for fold, names in organs.items():
        write_raw(home / "raw", fold, names, patients.get(fold, ()))
    return Workshop(home)
