"""Fingerprint of the code that a module reaches by import: the same until a result could change.

Syntax trees without docstrings are hashed, so comments, formatting and docstrings do not count. Data files that lie in a
package that is reached (templates, style sheets) count whole. Imports are read, not run: it costs no `import torch`.
Versions of third-party packages and imports by computed name are not seen.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

import cellvit

_PACKAGE = cellvit.__name__
_ROOT = Path(cellvit.__file__).parent


@cache
def code_fingerprint(module: str) -> str:
    """Hex digest over `module` (``cellvit.stages.prepare_fold``) and every module of the package that it reaches."""
    digest = hashlib.sha256()
    for name in sorted(reached_modules(module)):
        digest.update(f"{name}\0{_tree(name)}\0".encode())
        for path in _data_files(name):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def reached_modules(module: str) -> frozenset[str]:
    """Names of `module` and of the package's modules that it imports, directly or not."""
    reached: set[str] = set()
    waiting = [module, *_parents(module)]
    while waiting:
        name = waiting.pop()
        if name not in reached and _path(name):
            reached.add(name)
            waiting.extend(_imports(name))
    return frozenset(reached)


def _path(name: str) -> Path | None:
    parts = name.split(".")[1:]
    for path in (_ROOT.joinpath(*parts).with_suffix(".py") if parts else None, _ROOT.joinpath(*parts) / "__init__.py"):
        if path and path.is_file():
            return path
    return None


def _data_files(name: str) -> list[Path]:
    path = _path(name)
    if path is None or path.name != "__init__.py":
        return []
    return sorted(item for item in path.parent.iterdir() if item.is_file() and item.suffix not in {".py", ".pyc"})


def _source(name: str) -> ast.Module:
    path = _path(name)
    assert path is not None, name
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(name: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(_source(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    inside = {item for item in found if item.split(".")[0] == _PACKAGE}
    return inside | {parent for item in inside for parent in _parents(item)}


def _parents(name: str) -> list[str]:
    return [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]


@cache
def _tree(name: str) -> str:
    tree = _source(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _has_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
