"""What every section of the settings shares; nested settings merged, and as dotted names."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


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
