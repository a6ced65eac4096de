"""Perfect maps of a ground truth: decoding them gives the upper bound of every decoder."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer

from cellvit.hover.encode import hv_maps


class PerfectMaps(NamedTuple):
    """The maps that a perfect decoder would predict for one tile.

    Attributes:
        np_prob: 1 on nuclear pixels, 0 elsewhere.
        hv: Horizontal and vertical map of `cellvit.hover.encode.hv_maps`, -1..1.
    """

    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]


def perfect_maps(instances: Integer[np.ndarray, "h w"]) -> PerfectMaps:
    """Encode the ground truth; the metrics of ``segment(*perfect_maps(truth))`` bound those of any decoder."""
    return PerfectMaps((instances != 0).astype(np.float32), hv_maps(instances[None])[0])
