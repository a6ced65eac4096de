"""The fingerprint of the code: what changes it, and what does not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cellvit.workflow.fingerprint import code_fingerprint

STEP = "train_hovernet"


@pytest.fixture(scope="module")
def copy(tmp_path_factory, repository) -> Path:
    """A copy of the package that tests may edit."""
    home = tmp_path_factory.mktemp("package")
    shutil.copytree(repository / "cellvit", home / "cellvit", ignore=shutil.ignore_patterns("__pycache__"))
    return home


def fingerprint(home: Path, step: str = STEP) -> str:
    program = f"from cellvit.workflow.fingerprint import code_fingerprint; print(code_fingerprint({step!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home,
        env={"PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def edited(home: Path, module: str, before: str, after: str, step: str = STEP) -> bool:
    """Whether an edit changes the fingerprint of the step."""
    path = home / "cellvit" / module
    original, unedited = path.read_text(), fingerprint(home, step)
    assert before in original, f"{module} has no {before!r}"
    path.write_text(original.replace(before, after, 1))
    try:
        return fingerprint(home, step) != unedited
    finally:
        path.write_text(original)


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        pytest.param("losses/hover.py", "import torch\n", "import torch\n\nADDED = 1\n", id="of_the_loss"),
        pytest.param("hover/encode.py", "\nfrom ", "\nADDED = 1\nfrom ", id="of_what_it_imports_from_other_rooms"),
        pytest.param("training/seeding.py", "\ndef ", "\nADDED = 1\n\n\ndef ", id="of_the_training"),
        pytest.param("stages/train_hovernet.py", "\ndef run", "\nADDED = 1\n\n\ndef run", id="of_the_step_itself"),
    ],
)
def test_code_that_computes_changes_it(copy, module, before, after):
    assert edited(copy, module, before, after)


def test_a_raised_format_version_changes_it(copy):
    assert edited(copy, "formats/tiles.py", '    "cellvit-tiles",\n    ', '    "cellvit-tiles",\n    1')


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        pytest.param("training/seeding.py", '"""', '"""Reworded. ', id="docstring"),
        pytest.param("training/seeding.py", "\ndef ", "\n# why\ndef ", id="comment"),
        pytest.param(
            "training/loop.py", "raise TrainingDivergedError(", 'raise TrainingDivergedError("" + ', id="error"
        ),
        pytest.param("config/encoders.py", "\nfrom ", "\nADDED = 1\nfrom ", id="configuration"),
        pytest.param("formats/atomic.py", "\nfrom ", "\nADDED = 1\nfrom ", id="file_formats"),
        pytest.param("workflow/cache.py", "\nfrom ", "\nADDED = 1\nfrom ", id="workflow"),
        pytest.param("report/verdict.py", "\nfrom ", "\nADDED = 1\nfrom ", id="a_room_that_the_step_does_not_use"),
    ],
)
def test_what_computes_nothing_leaves_it(copy, module, before, after):
    assert not edited(copy, module, before, after)


def test_the_text_of_the_page_is_part_of_the_code_of_the_report(copy):
    assert edited(copy, "report/index.html.j2", "<", "<!-- edited --><", "build_report")


def test_it_loads_no_torch(repository):
    program = (
        "import sys; from cellvit.workflow.fingerprint import code_fingerprint; from cellvit.workflow.graph import Graph; "
        "code_fingerprint('train_hovernet'); sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], cwd=repository, check=False).returncode == 0
    assert len(code_fingerprint(STEP)) == 16
