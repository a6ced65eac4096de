import subprocess
import sys
from pathlib import Path

import pytest

from cellvit.workflow.machine import commit_of, this_machine


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *author, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tracked file in a repository."""
    path = tmp_path / "code.py"
    path.write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "--message", "Add code")
    return path


def test_the_commit_is_named_and_changed_code_is_marked(source: Path) -> None:
    commit = git(source.parent, "rev-parse", "HEAD")

    assert commit_of(source) == commit
    source.write_text("2\n")
    assert commit_of(source) == f"{commit}-dirty"


def test_code_that_git_does_not_track_has_no_commit(source: Path, tmp_path: Path) -> None:
    installed = source.with_name("installed.py")
    installed.write_text("1\n")

    assert commit_of(installed) == "unknown"


def test_without_git_and_a_gpu_a_step_still_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    machine = this_machine()

    assert (machine.commit, machine.gpu, machine.driver) == ("unknown", "none", "none")
    assert machine.software["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "numpy" in machine.software
