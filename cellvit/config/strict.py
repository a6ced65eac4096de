"""Settings are read without guessing: a key that occurs twice is refused, and no value changes its type."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from cellvit.errors import SettingsError

_EXPONENT: Final = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""Numbers such as 1e-4, which PyYAML takes for text."""

_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]*|[0-9]*\.[0-9]*|\.(inf|Inf|INF))([eE][-+]?[0-9]+)?|\.(nan|NaN|NAN)")
"""Numbers that are in YAML 1.1, which PyYAML reads, what they are for everyone else."""


class StrictLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses repeated keys, keys that are no text, and numbers that do not mean what they look like."""

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number in plain decimal notation: YAML 1.1 takes 010 for 8, 1:30 for 90 and 1_0 for 10."""
        if not _DECIMAL.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, f"expected a decimal number, found {node.value}; write text in quotes", node.start_mark
            )
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith((":bool", ":null")):
                found = (
                    f", found {key.value or 'nothing'}; write it in quotes" if isinstance(key, yaml.ScalarNode) else ""
                )
                raise yaml.constructor.ConstructorError(None, None, f"a key must be text{found}", key.start_mark)
            name = key.value.removeprefix("+")
            if name in first:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {key.value!r} occurs twice, in lines {first[name]} and {line}; remove one of them",
                    key.start_mark,
                )
            first[name] = line
        return super().construct_mapping(node, deep)


for _kind in ("int", "float"):
    StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", StrictLoader.construct_number)


def read_settings_file(path: Path) -> dict[str, Any]:
    """The mapping that a settings file (YAML or JSON) holds.

    Raises:
        SettingsError: The file does not exist, is not text, not YAML or not a mapping, or a key occurs twice.
    """
    if not path.is_file():
        raise SettingsError(
            f"{path}: the settings file does not exist. Fix: run in the repository, or give it by --base."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({error}). Fix: save it as UTF-8.") from error
    content = _parsed(text, str(path))
    if not isinstance(content, dict | None):
        raise SettingsError(
            f'{path}: expected lines of "key: value", found {type(content).__name__}. Fix: write one setting a line.'
        )
    return content or {}


def check_settings_files(paths: Sequence[str | Path]) -> None:
    """Raise SettingsError if a key of a settings file occurs twice, which Snakemake itself does not see."""
    for path in paths:
        read_settings_file(Path(path))


def given_values(pairs: Sequence[str]) -> dict[str, Any]:
    """Values of ``--config`` as KEY=YAML; Snakemake itself turns the values inside of a mapping into text.

    Raises:
        SettingsError: A value is not YAML, or a key occurs twice.

    Examples:
        >>> given_values(["seed=1", "training={epochs: 3, ema: 0.99}"])
        {'seed': 1, 'training': {'epochs': 3, 'ema': 0.99}}
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise SettingsError(f"--config {pair}: expected KEY=VALUE, as seed=1 or training='{{\"epochs\": 3}}'")
        if key in values:
            raise SettingsError(f"--config {key}: the key is given twice. Fix: remove one of both.")
        values[key] = _parsed(text, f"--config {key}")
    return values


def plain(value: object) -> object:
    """Settings as JSON has them; numbers with an exponent, which YAML 1.1 takes for text, are numbers.

    Examples:
        >>> plain({"training": {"learning_rate": "1e-4"}, "splits": {1: {"train": (1, 2)}}})
        {'training': {'learning_rate': 0.0001}, 'splits': {'1': {'train': [1, 2]}}}
    """
    match value:
        case str(text) if _EXPONENT.fullmatch(text):
            return float(text)
        case Mapping():
            return {str(key): plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry) for entry in value]
        case None | bool() | int() | float() | str():
            return value
        case other:  # a date, which YAML reads without being asked
            return str(other)


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.load(text, StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reasons = "".join(_described(error))
        raise SettingsError(
            f"{where}: this is not valid YAML: {reasons}. Fix: correct it; put text with signs such as : # ? into quotes."
        ) from error


def _described(error: Exception) -> Iterator[str]:
    """What is wrong and in which line, without the excerpt of the file that PyYAML adds."""
    mark = getattr(error, "problem_mark", None)
    yield getattr(error, "problem", None) or (
        "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    )
    if mark is not None:
        yield f" (line {mark.line + 1}, column {mark.column + 1})"
