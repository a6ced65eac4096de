"""Perfect maps of a true instance map: the ceiling of every decoder."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer

from cellvit.hover.encode import hv_maps


class OracleMaps(NamedTuple):
    """What a perfect decoder would say about one tile.

    Attributes:
        np_prob: 1 on nuclear pixels, 0 elsewhere.
        hv: Horizontal and vertical map of `cellvit.hover.encode.hv_maps`, -1..1.
    """

    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]


def oracle_maps(instances: Integer[np.ndarray, "h w"]) -> OracleMaps:
    """Turn truth into the maps from which `cellvit.hover.decode.segment` should recover it.

    The metrics of ``segment(*oracle_maps(truth))`` against ``truth`` bound those of any decoder with that watershed.
    """
    return OracleMaps((instances != 0).astype(np.float32), hv_maps(instances[None])[0])
