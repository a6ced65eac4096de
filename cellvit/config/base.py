"""What every section of the settings shares, and nested settings as dotted names."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the settings. Unknown keys are refused, and values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


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
