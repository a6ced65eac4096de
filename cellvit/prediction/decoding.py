"""Maps of a window -> its candidates, in a worker process: imports no torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from cellvit.formats.nuclei import NucleiTable
from cellvit.hover.decode import Watershed
from cellvit.prediction.windows import Window, candidates_of


@dataclass(frozen=True, slots=True)
class WindowMaps:
    """Blended maps of a window, and how they are decoded.

    Attributes:
        maps: NP (1), HV (2) and NT (the classes with background), in this order.
        unlike: True if the tile is unlike the training data.
    """

    window: Window
    image: UInt8[np.ndarray, "256 256 3"]
    maps: Float32[np.ndarray, "k 256 256"]
    watershed: Watershed
    temperature: float
    unlike: bool


def decoded(item: WindowMaps) -> NucleiTable:
    """Candidates of one window."""
    np_prob, hv, nt_prob = item.maps[0], item.maps[1:3], item.maps[3:]
    return candidates_of(
        item.window,
        item.image,
        np_prob,
        hv,
        nt_prob,
        watershed=item.watershed,
        temperature=item.temperature,
        unlike=item.unlike,
    )
