import importlib.util
import shutil
import sys

import pytest

import cellvit
from cellvit.io.fingerprint import reached_modules


@pytest.fixture
def fingerprint_of(tmp_path, repository):
    """Fingerprint of a stage in a copy of the package, after an edit."""
    copy = tmp_path / "cellvit"
    shutil.copytree(repository / "cellvit", copy, ignore=shutil.ignore_patterns("__pycache__"))

    def fingerprint(stage: str, module: str = "", edit=lambda text: text) -> str:
        if module:
            path = copy / module
            original = path.read_text()
            path.write_text(edit(original))
        spec = importlib.util.spec_from_file_location("copied_fingerprint", copy / "io" / "fingerprint.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        loaded._ROOT = copy
        found = loaded.code_fingerprint(f"cellvit.stages.{stage}")
        if module:
            path.write_text(original)
        return found

    return fingerprint


def test_comments_formatting_and_docstrings_do_not_count(fingerprint_of):
    before = fingerprint_of("prepare_fold")

    commented = fingerprint_of(
        "prepare_fold",
        "hover/relabel.py",
        lambda text: "# why\n\n" + text.replace('"""Instance', '"""Other words: instance'),
    )

    assert commented == before


def test_a_change_counts_for_the_steps_that_reach_it_and_no_other(fingerprint_of):
    def edit(text):
        return text + "\nCHANGED = 1\n"

    assert fingerprint_of("prepare_fold", "hover/relabel.py", edit) != fingerprint_of("prepare_fold")
    assert fingerprint_of("gather_family", "hover/relabel.py", edit) == fingerprint_of("gather_family")


def test_a_template_counts_for_the_report_alone(fingerprint_of):
    def edit(text):
        return text + "<p>more</p>"

    assert fingerprint_of("build_report", "report/index.html.j2", edit) != fingerprint_of("build_report")
    assert fingerprint_of("prepare_fold", "report/index.html.j2", edit) == fingerprint_of("prepare_fold")


def test_imports_are_followed_through_modules_and_parents():
    reached = reached_modules("cellvit.stages.prepare_fold")

    assert {"cellvit", "cellvit.stages", "cellvit.hover.relabel", "cellvit.taxonomy", "cellvit.io.atomic"} <= reached
    assert "cellvit.hover.encode" not in reached


def test_reading_imports_loads_no_torch(repository):
    import subprocess

    program = (
        "import sys; from cellvit.io.fingerprint import code_fingerprint; from cellvit.config.settings import load_settings; "
        "load_settings({}); code_fingerprint('cellvit.stages.train_hovernet'); "
        "import cellvit.data.pannuke, cellvit.io.hashing; sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], cwd=repository, check=False).returncode == 0
    assert cellvit.__version__
