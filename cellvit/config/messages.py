"""Messages about faulty settings: the key, what is expected, what was found, what to do."""

import difflib
from typing import Annotated, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cellvit.errors import SettingsError


def settings_error(error: ValidationError, model: type[BaseModel]) -> SettingsError:
    """One error that names every faulty key of `model`, with the nearest valid key for a misspelled one."""
    return SettingsError(
        "the settings are not valid:\n  "
        + "\n  ".join(fault_lines(error, model))
        + "\nAll keys and limits: config.yaml, config.schema.json"
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
    if kind in ("tuple_type", "list_type"):
        fix = f"; write [{found}]" if isinstance(found, str | int | float) else ""
        return f"{key}: must be a list, found {found!r}{fix}"
    return f"{key}: {message[0].lower()}{message[1:]}, found {found!r}"


def _suggestion(path: tuple[int | str, ...], model: type[BaseModel]) -> str:
    section: object = model
    for part in path[:-1]:
        fields = getattr(section, "model_fields", {})
        section = fields[part].annotation if part in fields else _entry_of(section)
    known = [field.alias or name for name, field in getattr(section, "model_fields", {}).items()]
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; the keys here are: {', '.join(known)}" if known else ""


def _entry_of(mapping: object) -> object:
    """Type of the entries of a mapping by name, such as families; None for any other type."""
    entry = get_args(mapping)[1] if get_origin(mapping) is dict else None
    return get_args(entry)[0] if get_origin(entry) is Annotated else entry
