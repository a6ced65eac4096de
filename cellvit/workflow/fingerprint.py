"""Fingerprint of the code that a module reaches by import: the same until a result could change.

Syntax trees without docstrings are hashed, so comments, formatting and docstrings do not count. Data files that lie in a
package that is reached (templates, style sheets) count whole. Imports are read, not run: it costs no `import torch`.
Versions of third-party packages and imports by computed name are not seen.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cellvit

_PACKAGE = cellvit.__name__
_ROOT = Path(cellvit.__file__).parent


@cache
def code_fingerprint(module: str) -> str:
    """Hex digest over `module` (``cellvit.stages.prepare_fold``) and every module of the package that it reaches."""
    digest = hashlib.sha256()
    for name in sorted(reached_modules(module)):
        digest.update(f"{name}\0{_module(name).said}\0".encode())
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
            waiting.extend(_module(name).imports)
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


class _Module(NamedTuple):
    """What is read of a module.

    Attributes:
        said: Hash of its syntax tree.
        imports: Modules of the package that it names in imports, with those above them.
    """

    said: str
    imports: frozenset[str]


@cache
def _module(name: str) -> _Module:
    path = _path(name)
    assert path is not None, name
    reader = _Reader()
    reader.read(ast.parse(path.read_text(encoding="utf-8")))
    inside = {item for item in reader.imports if item.split(".")[0] == _PACKAGE}
    said = hashlib.sha256("\n".join(reader.said).encode()).hexdigest()
    return _Module(said, frozenset(inside | {parent for item in inside for parent in _parents(item)}))


class _Reader:
    """One walk over a syntax tree: its nodes and values in order, and its imports.

    `ast.dump` and `ast.walk` say the same in three times the time, and every call of Snakemake waits for it.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.imports: set[str] = set()

    def read(self, node: ast.AST) -> None:
        """Read a node with all below it."""
        said = self.said
        said.append(type(node).__name__)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._note_imports(node)
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                items = value[1:] if name == "body" and _has_docstring(node) else value
                said.append(f"[{len(items)}")
                for item in items:
                    if isinstance(item, ast.AST):
                        self.read(item)
                    else:
                        said.append(repr(item))
            elif not isinstance(value, ast.AST):
                said.append(repr(value))
            elif not isinstance(value, ast.expr_context):  # follows from the place
                self.read(value)

    def _note_imports(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            self.imports.update(alias.name for alias in node.names)
        elif node.module and not node.level:
            self.imports.add(node.module)
            self.imports.update(f"{node.module}.{alias.name}" for alias in node.names)


def _parents(name: str) -> list[str]:
    return [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
