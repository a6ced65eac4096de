"""The unaffiliated package `cellvit` of PyPI in the same environment: a fake of its metadata on the path of Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def with_namesake(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the metadata of cellvit 1.0.9 in `folder`, which comes first on its path."""
    metadata = folder / "cellvit-1.0.9.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cellvit\nVersion: 1.0.9\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def mixed(tmp_path: Path, repository: Path) -> Path:
    """A folder into which both packages were installed."""
    shutil.copytree(repository / "cellvit", tmp_path / "cellvit", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_an_import_warns_of_the_other_package(mixed: Path) -> None:
    done = with_namesake(mixed, "-c", "import cellvit")

    assert done.returncode == 0
    assert "the package cellvit 1.0.9 of PyPI, which has nothing to do with cellvit-optimus" in done.stderr
    assert "Fix: pip uninstall cellvit" in done.stderr


def test_commands_and_steps_refuse_mixed_files_even_if_the_package_was_overwritten(mixed: Path) -> None:
    (mixed / "cellvit" / "__init__.py").write_text('"""That of the other package."""\n')

    done = with_namesake(mixed, "-m", "cellvit", "prepare_fold")

    assert done.returncode == 4
    assert done.stderr.startswith("error: this Python has the package cellvit 1.0.9")
    assert "are mixed with those of cellvit-optimus" in done.stderr


def test_doctor_runs_with_mixed_files_and_says_so(mixed: Path, repository: Path) -> None:
    done = with_namesake(mixed, "-m", "cellvit", "doctor", "--base", str(repository / "config.yaml"))

    assert "fault packages this Python has the package cellvit 1.0.9" in done.stdout


def test_a_package_elsewhere_hides_or_is_hidden_and_stops_nothing(tmp_path: Path, repository: Path) -> None:
    path = f"import sys; sys.path.insert(0, {str(repository)!r})\n"
    main = "from cellvit.__main__ import main; sys.exit(main(['snakefile']))"

    done = with_namesake(tmp_path, "-c", path + main)

    assert (done.returncode, done.stdout) == (0, f"{repository / 'Snakefile'}\n")
    assert "one hides the other" in done.stderr
