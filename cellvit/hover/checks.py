"""What the maps and parameters of a watershed must be."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float

from cellvit.errors import ContractError, SettingsError

_ROUNDING: Final = 1e-3
"""How far a probability of half precision may lie outside 0..1."""


def check_limits(parameters: object, limits: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse the first parameter that is out of its limits: by name, whether it holds, and what is expected.

    Raises:
        SettingsError: A parameter is out of its limits.
    """
    for name, (holds, expected) in limits.items():
        if not holds:
            raise SettingsError(f"watershed parameter {name} must be {expected}, found {getattr(parameters, name)}.")


def check_maps(np_prob: Float[np.ndarray, "h w"], hv: Float[np.ndarray, "2 h w"]) -> None:
    """Refuse maps that do not belong together.

    Raises:
        ContractError: The maps are empty, differ in size or are not finite, or `np_prob` is no probability.
    """
    if np_prob.ndim != 2 or not np_prob.size or hv.shape != (2, *np_prob.shape):
        raise ContractError(
            f"maps of a tile must be np_prob (h, w) and hv (2, h, w), found {np_prob.shape} and {hv.shape}. "
            "Give one tile at a time, channels first."
        )
    check_finite("np_prob", np_prob)
    check_finite("hv", hv)
    if not -_ROUNDING <= np_prob.min() <= np_prob.max() <= 1 + _ROUNDING:
        raise ContractError(
            f"np_prob must hold probabilities from 0 to 1, found {np_prob.min():.4g} to {np_prob.max():.4g}. "
            "Give the softmax of the NP branch, not its logits or an image."
        )


def check_finite(name: str, values: Float[np.ndarray, "..."]) -> None:
    """Refuse a map with NaN or infinity.

    Raises:
        ContractError: A value is not finite.
    """
    with np.errstate(all="ignore"):  # a sum is several times faster than a look at every value
        if np.isfinite(values.sum()):
            return
    if n_wrong := values.size - np.count_nonzero(np.isfinite(values)):
        raise ContractError(
            f"{name} must be finite, found {n_wrong} of {values.size} values that are not. "
            "The decoder that made it has diverged: train it again with a lower learning rate."
        )
