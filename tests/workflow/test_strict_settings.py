"""A real Snakemake refuses settings that are not clear, in files and on the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("strict_settings")]


def dry_run(repository: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--cores", "1", "--snakefile"]
    command += [str(repository / "Snakefile"), "--directory", str(folder), *options]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=repository
    )


def test_snakemake_refuses_a_key_that_occurs_twice(repository: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("data: {root: null}\nseed: 1\ntraining:\n  epochs: 3\n  epochs: 4\n")

    in_file = dry_run(repository, tmp_path, "--configfile", str(mine))
    in_value = dry_run(
        repository,
        tmp_path,
        "--config",
        "data={root: null, simulated: {tiles_per_fold: 20}}",
        "training={epochs: 1, epochs: 2}",
    )

    assert in_file.returncode != 0
    assert "mine.yaml: this is not valid YAML: the key 'epochs' occurs twice, in lines 4 and 5" in in_file.stdout
    assert in_value.returncode != 0
    assert "--config training: this is not valid YAML: the key 'epochs' occurs twice" in in_value.stdout


def test_values_inside_of_a_mapping_on_the_command_line_are_what_yaml_says(repository: Path, tmp_path: Path) -> None:
    good = dry_run(
        repository,
        tmp_path,
        "--config",
        "data={root: null, simulated: {tiles_per_fold: 20}}",
        "training={steps: 5, augment: false}",
    )
    bad = dry_run(
        repository, tmp_path, "--config", "data={root: null, simulated: {tiles_per_fold: 20}}", 'training={steps: "5"}'
    )

    assert good.returncode == 0, good.stdout
    assert bad.returncode != 0
    assert "training.steps: must be a number, found the text '5'" in bad.stdout
