"""What every section of the settings shares; nested settings merged, and as dotted names."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationInfo, field_validator


class Section(BaseModel):
    """A part of the settings. Unknown keys are refused, values never change after loading, and none changes its type:
    pydantic alone would take true for 1, 1 for true, and "10" for 10."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _keeps_its_type(cls, value: object, info: ValidationInfo) -> object:
        assert info.field_name is not None
        types = set(_value_types(cls.model_fields[info.field_name].annotation))
        for entry in value if isinstance(value, list | tuple) else (value,):
            if fault := _fault(entry, types):
                raise ValueError(fault)
        return value


def path_text(value: str) -> str:
    """A path as users mean it: ~ is their home folder. What only a shell would replace is refused, not taken by the letter.

    Raises:
        ValueError: It has a $, a brace or a control character, begins with a hyphen, or names the home of an unknown user.

    Examples:
        >>> path_text("data/pannuke")
        'data/pannuke'
    """
    if any(not letter.isprintable() for letter in value):
        raise ValueError(f"must be a path without control characters, found {value!r}")
    for sign, reason in (
        ("$", "variables are not replaced here"),
        ("{", "braces have a meaning"),
        ("}", "braces have a meaning"),
    ):
        if sign in value:
            raise ValueError(f"must be a path without {sign} ({reason}); write the path itself, found {value!r}")
    if value.startswith("-"):
        raise ValueError(f"must not begin with a hyphen, which programs take for an option; write ./{value}")
    try:
        expanded = str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:
        raise ValueError(f"the home folder of {value!r} is not known; write the path itself") from None
    return expanded + "/" * (value.endswith("/") and not expanded.endswith("/"))


PathText = Annotated[str, StringConstraints(min_length=1), AfterValidator(path_text)]
"""A path in the settings."""


def override(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Merge `above` into `below` as Snakemake merges settings: mappings by key, other values as a whole.

    Examples:
        >>> settings = {"seed": 1, "loss": {"np_weight": 1.0, "nt_weight": 1.0}}
        >>> override(settings, {"loss": {"nt_weight": 2.0}})
        >>> settings
        {'seed': 1, 'loss': {'np_weight': 1.0, 'nt_weight': 2.0}}
    """
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            override(below[key], value)
        else:
            below[key] = value


def flattened(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings as one mapping of dotted names.

    Examples:
        >>> flattened({"seed": 1, "loss": {"np_weight": 1.0}})
        {'seed': 1, 'loss.np_weight': 1.0}
    """
    flat: dict[str, object] = {}
    for key, value in settings.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _fault(entry: object, types: set[object]) -> str:
    """Why a value is not of one of these types, where pydantic would convert it; empty if it would not."""
    is_number = bool({int, float} & types)
    match entry:
        case bool() if bool not in types and is_number:
            return f"must be a number, found {str(entry).lower()}"
        case int() | float() if not isinstance(entry, bool) and bool in types and not is_number:
            return f"must be true or false, found {entry}"
        case str() if not {str, entry} & types and is_number:
            return f"must be a number, found the text {entry!r}; write numbers without quotes"
        case str() if not {str, entry} & types and bool in types:
            return f"must be true or false, found the text {entry!r}; write it without quotes"
    return ""


def _value_types(annotation: object) -> Iterator[object]:
    """Types of the values of a field and of the entries of its lists; the permitted texts of a Literal are themselves."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield from get_args(annotation)
    elif origin in (Union, UnionType, tuple, list) or hasattr(annotation, "__metadata__"):
        parts = get_args(annotation)
        for part in parts[:1] if hasattr(annotation, "__metadata__") else parts:
            yield from _value_types(part)
    else:
        yield annotation
