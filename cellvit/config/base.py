"""What every section of the settings shares; nested settings merged, and as dotted names."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the settings. Unknown keys are refused, and values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


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
