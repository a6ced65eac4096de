"""Checks of the maps from which nuclei are decoded."""

from typing import Final

import numpy as np
from jaxtyping import Float

from cellvit.errors import ContractError

_ROUNDING: Final = 1e-3
"""A probability in half precision may exceed 0..1 by this much."""


def check_maps(np_prob: Float[np.ndarray, "h w"], hv: Float[np.ndarray, "2 h w"]) -> None:
    """Raise ContractError if the maps are empty, differ in size or are not finite, or `np_prob` is not a probability."""
    if np_prob.ndim != 2 or not np_prob.size or hv.shape != (2, *np_prob.shape):
        raise ContractError(
            f"maps of a tile must be np_prob (h, w) and hv (2, h, w), found {np_prob.shape} and {hv.shape}. "
            "Pass one tile at a time, channels first."
        )
    check_finite("np_prob", np_prob)
    check_finite("hv", hv)
    if not -_ROUNDING <= np_prob.min() <= np_prob.max() <= 1 + _ROUNDING:
        raise ContractError(
            f"np_prob must hold probabilities from 0 to 1, found {np_prob.min():.4g} to {np_prob.max():.4g}. "
            "Pass the softmax of the NP branch, not its logits or an image."
        )


def check_finite(name: str, values: Float[np.ndarray, "..."]) -> None:
    """Raise ContractError if a map contains NaN or infinity."""
    with np.errstate(all="ignore"):  # the sum is finite only if all values are, and is several times faster to test
        if np.isfinite(values.sum()):
            return
    if n_wrong := values.size - np.count_nonzero(np.isfinite(values)):
        raise ContractError(
            f"{name} must be finite, found {n_wrong} of {values.size} values that are not. "
            "The decoder that predicted it has diverged: train it again with a lower learning rate."
        )
