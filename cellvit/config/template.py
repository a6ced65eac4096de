"""config.yaml and its JSON schema as text: every key with its default, its meaning and its limits."""

import json
import textwrap
from typing import Any, Final, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from cellvit.config.data import SimulatedData
from cellvit.config.evaluation import Gate, QualityGates
from cellvit.config.presets import EncoderPreset
from cellvit.config.settings import Settings

_WIDTH = 118

NULL_SECTIONS: Final[dict[str, type[BaseModel]]] = {"simulated": SimulatedData, "custom": EncoderPreset}
"""Sections that are null by default."""

_HEADER = """\
# Settings of a run. This file is generated from cellvit/config by `python -m cellvit settings`.
# To change a setting:  snakemake --configfile mine.yaml   or   snakemake --config 'training={"epochs": 20}'
# A changed setting reruns only the steps that read it, and the steps that depend on them. Unknown keys are errors.
"""


def config_yaml() -> str:
    """The complete config.yaml, with comments; loading it gives the defaults."""
    return _HEADER + "".join(_field(Settings(), name, field, 0) for name, field in Settings.model_fields.items())


def schema_json() -> str:
    """JSON schema of the settings, for editors."""
    return json.dumps(Settings.model_json_schema(by_alias=True), indent=2) + "\n"


def limits_of(field: FieldInfo) -> str:
    """Bounds and choices of a setting in words; empty if it has none."""
    signs = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}
    rules = ((rule, sign) for rule in field.metadata for sign in signs if hasattr(rule, sign))
    parts = [signs[sign].format(getattr(rule, sign)) for rule, sign in rules]
    if get_origin(field.annotation) is Literal:
        parts.append(f"one of {', '.join(get_args(field.annotation))}")
    return ", ".join(parts)


def scalar_yaml(value: Any) -> str:
    """A value in one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.strip().removesuffix("...").strip()


def _field(section: BaseModel, name: str, field: FieldInfo, depth: int) -> str:
    value, key = getattr(section, name), field.alias or name
    comment = _comment(field, depth)
    lead = "\n" if depth == 0 else ""
    if isinstance(value, BaseModel) and not isinstance(value, Gate):
        inner = "".join(_field(value, item, info, depth + 1) for item, info in type(value).model_fields.items())
        return f"{lead}{comment}{_indent(depth)}{key}:\n{inner}"
    return f"{lead}{comment}{textwrap.indent(_yaml(key, to_jsonable_python(value, by_alias=True)), _indent(depth))}{_example(name, depth)}"


def _comment(field: FieldInfo, depth: int) -> str:
    limits = limits_of(field)
    text = f"{field.description}{f' ({limits})' if limits else ''}"
    lines = textwrap.wrap(text, _WIDTH - len(_indent(depth)) - 2, break_on_hyphens=False)
    return "".join(f"{_indent(depth)}# {line}\n" for line in lines)


def _yaml(key: str, value: Any) -> str:
    if isinstance(value, dict) and key not in QualityGates.model_fields:
        rows = "".join(f"  {scalar_yaml(name)}: {scalar_yaml(item)}\n" for name, item in value.items())
        return f"{key}:\n{rows}"
    return f"{key}: {scalar_yaml(value)}\n"


def _example(name: str, depth: int) -> str:
    """Keys of a section that is null by default, commented out."""
    if name not in NULL_SECTIONS:
        return ""
    fields = NULL_SECTIONS[name].model_fields
    rows = [f"{item}: ...  {info.description or ''}".rstrip() for item, info in fields.items()]
    return "".join(f"{_indent(depth)}#   {row}\n" for row in rows)


def _indent(depth: int) -> str:
    return "  " * depth
