"""Command line of a step from the fields of its frozen dataclass `Arguments`: one declaration, typed from the start.

A field says with its annotation what it is: ``tiles: Annotated[Path, Input("tile store of one fold")]``. The result cache
reads the same declaration: inputs and values decide the result of a step, outputs are what it makes, and how or where
something is computed decides nothing.
"""

import argparse
import ast
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from cellvit.config.settings import Device
from cellvit.errors import SettingsError

AnyArguments = TypeVar("AnyArguments")


@dataclass(frozen=True)
class Option:
    """What a field of `Arguments` is; `help` is shown by ``--help``."""

    help: str


class Input(Option):
    """A file (or several) that the step reads, and whose content decides its result."""


class Through(Option):
    """A file that must exist, but whose content is known from another input: a store behind a list of its rows."""


class Output(Option):
    """A file that the step writes."""


class Setting(Option):
    """A value that decides the result: settings as JSON, a name, folds."""


class How(Option):
    """How or where the step computes, which does not decide its result: device, threads, batch size."""


Code = Annotated[str, Setting("fingerprint of the code that computes (a hash over the syntax trees of its modules)")]
DeviceChoice = Annotated[Device, How("where torch computes: auto, cpu, cuda or mps")]
Threads = Annotated[int, How("threads of the processor, or worker processes")]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an `Arguments` class.

    Attributes:
        type: Its type without the annotation.
        required: False where it has a default.
    """

    name: str
    type: Any
    option: Option
    required: bool

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def nargs(self) -> str | None:
        """How many values it takes: any number for a tuple, none or one where it may be None, else one."""
        if get_origin(self.type) is tuple:
            return "*"
        return "?" if type(None) in get_args(self.type) else None


def fields_of(kind: type) -> tuple[Field, ...]:
    """The fields of an `Arguments` class, in order."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for field in dataclasses.fields(kind):
        declared, option = get_args(hints[field.name])  # of Annotated
        found.append(Field(field.name, declared, option, required=field.default is dataclasses.MISSING))
    return tuple(found)


def option_kinds(source: Path) -> dict[str, type[Option]]:
    """Kind of each option of the step in the module `source`, by the name of its field, without importing the module."""
    kinds = {kind.__name__: kind for kind in (Input, Through, Output, Setting, How)}
    aliases = {"Code": Setting, "DeviceChoice": How, "Threads": How}
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (declared,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Arguments"]
    found: dict[str, type[Option]] = {}
    for field in declared.body:
        match field:
            case ast.AnnAssign(ast.Name(name), ast.Subscript(slice=ast.Tuple([_, ast.Call(ast.Name(kind))]))):
                found[name] = kinds[kind]
            case ast.AnnAssign(ast.Name(name), ast.Name(alias)):
                found[name] = aliases[alias]
    return found


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """Declare the options of an `Arguments` class."""
    for field in fields_of(kind):
        parser.add_argument(
            field.flag,
            required=field.required,
            nargs=field.nargs,
            metavar=_METAVARS.get(type(field.option), "VALUE"),
            default=argparse.SUPPRESS,
            help=field.option.help,
        )


def parsed(kind: type[AnyArguments], given: argparse.Namespace) -> AnyArguments:
    """The arguments as a frozen record, each value checked.

    Raises:
        SettingsError: A value is not of the type of its field.
    """
    return kind(
        **{field.name: _value(field, getattr(given, field.name)) for field in fields_of(kind) if field.name in given}
    )


def check_paired(**lists: Sequence[object]) -> None:
    """Refuse lists of different lengths whose entries belong together.

    Examples:
        >>> check_paired(tiles=["1.h5", "2.h5"], features=["1.h5", "2.h5"])

    Raises:
        SettingsError: A list has another length than the first.
    """
    first, *_ = lists
    for name, values in lists.items():
        if len(values) != len(lists[first]):
            raise SettingsError(
                f"--{name.replace('_', '-')}: expected one entry for each of --{first.replace('_', '-')}, in the same "
                f"order: {len(lists[first])}, found {len(values)}"
            )


_METAVARS: Final = {Input: "FILE", Through: "FILE", Output: "FILE"}


def _value(field: Field, text: str | list[str]) -> Any:
    try:
        if isinstance(field.type, type) and issubclass(field.type, BaseModel):
            return field.type.model_validate_json(str(text))
        return TypeAdapter(field.type).validate_python(text)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip() for fault in error.errors())
        raise SettingsError(f"{field.flag}: {reasons}, found {text!r}") from error
