"""The wheel: built from a copy of the repository, installed into a folder of its own, and used in an empty one."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cellvit.workflow.fingerprint import code_fingerprint

SOURCES = ("Snakefile", "config.yaml", "rules", "profiles", "envs", "cellvit", "pyproject.toml", "README.md", "LICENSE")
"""What the wheel is built from."""

WORKFLOW = ("Snakefile", "config.yaml", "rules", "profiles", "envs")
"""What Snakemake needs, at the top level of the repository."""

pytestmark = pytest.mark.slow

Call = Callable[..., subprocess.CompletedProcess[str]]


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--no-deps", "--no-index", "--quiet"]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The folder into which the wheel was installed, as into site-packages."""
    home = tmp_path_factory.mktemp("wheel")
    (home / "source").mkdir()
    for name in SOURCES:
        if (repository / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(repository / name, home / "source" / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(repository / name, home / "source" / name)
    pip("wheel", home / "source", "--no-build-isolation", "--wheel-dir", home / "dist")
    (wheel,) = (home / "dist").glob("*.whl")
    pip("install", wheel, "--target", home / "site")
    return home / "site"


@pytest.fixture
def python(installed: Path, tmp_path: Path) -> Call:
    """Run the Python of the tests in an empty folder, where it finds the installed package alone."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return call


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in WORKFLOW
        for path in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))
        if path.is_file()
    }


def test_every_file_of_the_workflow_is_in_the_wheel(installed: Path, repository: Path) -> None:
    assert files_below(installed / "cellvit" / "workflow" / "snakemake") == files_below(repository)


def test_all_modules_and_templates_are_in_the_wheel(installed: Path, repository: Path) -> None:
    def package(root: Path) -> set[str]:
        kinds = {".py", ".j2", ".css", ".typed"}
        return {str(path.relative_to(root)) for path in (root / "cellvit").rglob("*") if path.suffix in kinds}

    assert package(installed) == package(repository)


def test_the_demo_plans_the_whole_workflow_in_an_empty_folder(python: Call, installed: Path, tmp_path: Path) -> None:
    done = python("-m", "cellvit", "demo", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert str(installed / "cellvit" / "workflow" / "snakemake") in done.stderr
    planned = dict(re.findall(r"^ *([a-z][a-z_ ]+[a-z]) +(\d+) *$", done.stdout + done.stderr, re.MULTILINE))
    jobs = {rule.replace(" ", "_"): int(count) for rule, count in planned.items()}
    assert (jobs["extract_features"], jobs["train_hovernet"], jobs["gather_bundle"], jobs["report"]) == (3, 6, 1, 1)
    assert {path.name for path in tmp_path.iterdir()} <= {".snakemake"}


def test_a_demo_that_stops_names_the_command_and_the_fix(python: Call, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the demo needs a folder")

    done = python("-m", "cellvit", "demo", "--dry-run")

    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("error: cellvit demo: expected that this command succeeds: ")
    assert message.endswith("Fix: cellvit demo, which continues where it stopped")


def test_the_code_of_a_step_has_the_fingerprint_that_it_has_in_a_checkout(python: Call) -> None:
    program = "from cellvit.workflow.fingerprint import code_fingerprint; print(code_fingerprint('train_hovernet'))"

    done = python("-c", program)

    assert done.stdout.strip() == code_fingerprint("train_hovernet")


def test_commands_for_settings_start_from_the_installed_defaults(python: Call) -> None:
    done = python("-m", "cellvit", "verify")

    assert done.returncode == 3
    assert "results: there are no results" in done.stderr


def test_the_snakefile_is_found_by_its_command(python: Call, installed: Path) -> None:
    done = python("-m", "cellvit", "snakefile")

    assert Path(done.stdout.strip()) == installed / "cellvit" / "workflow" / "snakemake" / "Snakefile"
