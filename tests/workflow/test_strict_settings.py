"""A real Snakemake refuses settings that are not clear, in files and on the command line, and a second run on one folder."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cellvit.formats.locks import locked

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("strict_settings")]


def called(repository: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile"]
    command += [str(repository / "Snakefile"), "--directory", str(folder), *options]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=repository
    )


def test_snakemake_refuses_a_key_that_occurs_twice(repository: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("data: {root: null}\nseed: 1\ntraining:\n  epochs: 3\n  epochs: 4\n")

    in_file = called(repository, tmp_path, "-n", "--configfile", str(mine))
    in_value = called(
        repository,
        tmp_path,
        "-n",
        "--config",
        "data={root: null, simulated: {tiles_per_fold: 20}}",
        "training={epochs: 1, epochs: 2}",
    )

    assert in_file.returncode != 0
    assert "mine.yaml: this is not valid YAML: the key 'epochs' occurs twice, in lines 4 and 5" in in_file.stdout
    assert in_value.returncode != 0
    assert "--config training: this is not valid YAML: the key 'epochs' occurs twice" in in_value.stdout


def test_values_inside_of_a_mapping_on_the_command_line_are_what_yaml_says(repository: Path, tmp_path: Path) -> None:
    good = called(
        repository,
        tmp_path,
        "-n",
        "--config",
        "data={root: null, simulated: {tiles_per_fold: 20}}",
        "training={steps: 5, augment: false}",
    )
    bad = called(
        repository,
        tmp_path,
        "-n",
        "--config",
        "data={root: null, simulated: {tiles_per_fold: 20}}",
        'training={steps: "5"}',
    )

    assert good.returncode == 0, good.stdout
    assert bad.returncode != 0
    assert "training.steps: must be a number, found the text '5'" in bad.stdout


def test_a_second_run_on_one_output_folder_is_refused_by_host_and_process(repository: Path, tmp_path: Path) -> None:
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = ("--config", "data={root: null, simulated: {tiles_per_fold: 20}}", f"results={results}", "--", "families")

    with locked(results / ".cellvit_run.lock", "runs snakemake on this output folder"):
        second = called(repository, elsewhere, *options)

    text = second.stdout[second.stdout.index("error: ") :]
    assert second.returncode == 5
    assert (
        f"another process runs snakemake on this output folder: host {socket.gethostname()} process {os.getpid()}, since"
        in (text.replace("\n", " "))
    )
    assert "in file" not in second.stdout, "no traceback"
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 100
    assert not (results / "simulated").exists()


def test_a_folder_with_signs_that_a_shell_would_read_is_only_a_folder(repository: Path, tmp_path: Path) -> None:
    options = ("data={root: null, simulated: {tiles_per_fold: 4}}", "results=res(1)", "--until", "simulate_pannuke")

    done = called(repository, tmp_path, "--config", *options)

    assert done.returncode == 0, done.stdout
    assert (tmp_path / "res(1)/logs/simulate_pannuke/fold1.log").is_file()
    assert (tmp_path / "res(1)/simulated/Fold 1/images/fold1/images.npy").is_file()
