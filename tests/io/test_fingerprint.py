import ast
import importlib.util
import shutil
import sys

import pytest

import cellvit
from cellvit.workflow.fingerprint import _Reader, reached_modules


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f():\n    return 1", 'def f():\n    """New."""\n    return 1'),
        ("class A:\n    b = 1", 'class A:\n    """New."""\n\n    b = 1  # why'),
        ("x = (1 + 2)", "x = 1+2"),
    ],
)
def test_what_cannot_change_a_result_is_not_said(before: str, after: str) -> None:
    assert said(ast.parse(before)) == said(ast.parse(after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("a < b", "a <= b"),
        ("f(a, b)", "f(b, a)"),
        ("f(a, b)", "f(a, b=b)"),
        ("f(*a)", "f(**a)"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("[[a], b]", "[[a, b]]"),
        ("def f(a, /, b): 0", "def f(a, b, /): 0"),
        ("{**a, b: c}", "{b: c, **a}"),
        ("f'{a!r}'", "f'{a!s}'"),
        ("x = 'a'\n'b'", "x = 'a'\n'c'"),
    ],
)
def test_what_may_change_a_result_is_said(before: str, after: str) -> None:
    assert said(ast.parse(before)) != said(ast.parse(after))


def test_statements_of_the_package_are_told_apart_as_by_their_whole_dump(repository):
    trees = [ast.parse(path.read_text()) for path in sorted((repository / "cellvit").rglob("*.py"))]
    nodes = [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.Return | ast.If | ast.Expr)
    ]

    pairs = {(ast.dump(node), tuple(said(node))) for node in nodes}

    assert len(pairs) > 1000
    assert len({dump for dump, _ in pairs}) == len({by_reader for _, by_reader in pairs}) == len(pairs)


def said(node: ast.AST) -> list[str]:
    reader = _Reader()
    reader.read(node)
    return reader.said


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

    assert {"cellvit", "cellvit.stages", "cellvit.hover.relabel", "cellvit.taxonomy", "cellvit.formats.atomic"} <= reached
    assert "cellvit.hover.encode" not in reached


def test_reading_imports_loads_no_torch(repository):
    import subprocess

    program = (
        "import sys; from cellvit.workflow.fingerprint import code_fingerprint; from cellvit.config.settings import load_settings; "
        "load_settings({}); code_fingerprint('cellvit.stages.train_hovernet'); "
        "import cellvit.data.pannuke, cellvit.io.hashing; sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], cwd=repository, check=False).returncode == 0
    assert cellvit.__version__
