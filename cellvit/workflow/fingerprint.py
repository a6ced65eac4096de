"""Fingerprint of the code that computes a step: a hash over the syntax trees of its modules.

It covers the module of the step and the modules that it reaches by import in the rooms that compute. Configuration, file
formats and workflow code do not count, but for the version numbers of the formats. Comments, docstrings, annotations,
messages of errors and logs do not count either: rewording an error reruns nothing. Versions of other packages are not seen.
Nothing is imported, so that Snakemake's own processes stay fast.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import cellvit

COMPUTING: Final = (
    *("models", "losses", "data", "metrics", "hover", "training", "inference", "evaluation", "prediction", "report"),
)
"""Rooms whose code decides results."""

_ROOT: Final = Path(cellvit.__file__).parent
_FORMATS: Final = "formats"
_ANNOTATIONS: Final = frozenset({"annotation", "returns", "type_comment"})
_DIGITS: Final = 16


@cache
def code_fingerprint(step: str) -> str:
    """Hex digest over the code of a step, such as ``prepare_fold``."""
    return modules_fingerprint(f"stages/{step}.py")


@cache
def modules_fingerprint(*modules: str) -> str:
    """Hex digest over the code of modules, by their paths in the package, and of the modules that they reach."""
    starts = [_ROOT / module for module in modules]
    digest = hashlib.sha256(_format_versions().encode())
    for path in sorted({*starts, *(found for start in starts for found in _reached(start))}):
        digest.update(f"{path.relative_to(_ROOT)}\0{_module(path)[0]}\0".encode())
    return digest.hexdigest()[:_DIGITS]


def _reached(start: Path) -> set[Path]:
    """Modules of the computing rooms that are imported from `start`, directly or not; templates of the page with them."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        for path in _module(waiting.pop())[1] - found:
            found.add(path)
            waiting.append(path)
    if any(path.parent.name == "report" for path in found):
        found |= {path for path in (_ROOT / "report").iterdir() if path.suffix in {".j2", ".css"}}
    return found


@cache
def _module(path: Path) -> tuple[str, frozenset[Path]]:
    """Hash of a module's code, and the modules of computing rooms that it imports."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest(), frozenset()
    reader = _Reader(prose=path.parent.name == "report")  # what the page says is its content
    reader.read(ast.parse(path.read_text(encoding="utf-8")))
    paths = (_path_of(name) for name in reader.imports)
    return hashlib.sha256("\n".join(reader.tokens).encode()).hexdigest(), frozenset(found for found in paths if found)


def _path_of(name: str) -> Path | None:
    """File of a module of a computing room; None for any other name."""
    package, *parts = name.split(".")
    if package != cellvit.__name__ or not parts or parts[0] not in COMPUTING:
        return None
    for path in (_ROOT.joinpath(*parts).with_suffix(".py"), _ROOT.joinpath(*parts) / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _format_versions() -> str:
    """Names and versions of every file format: a raised version makes every result again."""
    versions = []
    for path in sorted((_ROOT / _FORMATS).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Format":
                versions.append([ast.unparse(argument) for argument in node.args[:2]])
            elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "version" and node.value:
                versions.append([path.stem, ast.unparse(node.value)])
    return str(versions)


class _Reader:
    """One walk over a syntax tree: its nodes and values in order, and its imports.

    `ast.dump` gives the same in three times the time, and every call of Snakemake waits for it.
    """

    def __init__(self, *, prose: bool) -> None:
        self._prose = prose
        self.tokens: list[str] = []
        self.imports: set[str] = set()

    def read(self, node: ast.AST) -> None:
        """Read a node with all below it."""
        match node:
            case ast.Import():
                self.imports.update(alias.name for alias in node.names)
            case ast.ImportFrom():
                self.imports.update({f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)})
            case ast.Raise():  # that something is raised counts, its message does not
                self.tokens.append("Raise")
            case ast.Expr(value=ast.Constant()):  # a docstring
                pass
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
                pass
            case ast.Constant(value=str(text)) if " " in text and not self._prose:  # names and keys have no blanks
                self.tokens.append("prose")
            case _:
                self._read_fields(node)

    def _read_fields(self, node: ast.AST) -> None:
        self.tokens.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if name in _ANNOTATIONS or isinstance(value, ast.expr_context):
                continue
            if isinstance(value, list):
                self.tokens.append("[")
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    self.read(item)
                else:
                    self.tokens.append(repr(item))
