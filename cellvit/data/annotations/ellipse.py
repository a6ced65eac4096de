"""Outline of an ellipse that fills a box."""

from typing import Final

import numpy as np
from jaxtyping import Float

_CORNERS: Final = 128
"""The polygon is 0.04 % smaller than the ellipse."""


def ellipse(low: Float[np.ndarray, "2"], high: Float[np.ndarray, "2"]) -> Float[np.ndarray, "n 2"]:
    """Points on the ellipse that touches the box from `low` to `high` (x before y)."""
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points: Float[np.ndarray, "n 2"] = (low + high) / 2 + circle * (high - low) / 2
    return points
