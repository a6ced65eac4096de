"""Messages about faulty settings: the key, what is expected, what was found, what to do."""

import difflib
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cellvit.errors import SettingsError


def settings_error(error: ValidationError, model: type[BaseModel]) -> SettingsError:
    """One error that names every faulty key of `model`, with the nearest valid key for a misspelled one."""
    return SettingsError(
        "the settings are not valid:\n  "
        + "\n  ".join(fault_lines(error, model))
        + "\nFix: correct them. All keys and limits: config.yaml, config.schema.json"
    )


def fault_lines(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for each faulty key of `model`."""
    return [_line(fault["loc"], fault["type"], fault["msg"], fault["input"], model) for fault in error.errors()]


def _line(path: tuple[int | str, ...], kind: str, message: str, found: object, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in path)
    if kind == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(path, model)}"
    message = message.removeprefix("Value error, ")
    if kind == "value_error":
        return message if message.startswith(key) else f"{key}: {message}"
    if kind == "too_short":
        return f"{key}: must have at least one entry, found {found!r}"
    if kind in ("tuple_type", "list_type"):
        fix = f"; write [{found}]" if isinstance(found, str | int | float) else ""
        return f"{key}: must be a list, found {found!r}{fix}"
    return f"{key}: {message[0].lower()}{message[1:]}, found {found!r}"


def _suggestion(path: tuple[int | str, ...], model: type[BaseModel]) -> str:
    section: object = model
    for part in path[:-1]:
        fields = getattr(section, "model_fields", {})
        section = _without_none(fields[part].annotation if part in fields else _entry_of(section))
    known = [field.alias or name for name, field in getattr(section, "model_fields", {}).items()]
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; the keys here are: {', '.join(known)}" if known else ""


def _without_none(section: object) -> object:
    """The other part of a type that may be None, without its validators."""
    parts = [part for part in get_args(section) if part is not type(None)]
    if get_origin(section) not in (Union, UnionType) or len(parts) != 1:
        return section
    return get_args(parts[0])[0] if get_origin(parts[0]) is Annotated else parts[0]


def _entry_of(container: object) -> object:
    """Type of the entries of a mapping by name, such as families, or of a tuple; None for any other type."""
    origin = get_origin(container)
    entry = get_args(container)[1 if origin is dict else 0] if origin in (dict, tuple) else None
    return get_args(entry)[0] if get_origin(entry) is Annotated else entry
