"""Binary PQ of one tile's maps with the published watershed, for worker processes: this module imports no torch."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from cellvit.hover.decode import segment
from cellvit.metrics.overlap import panoptic_quality


class BpqTask(NamedTuple):
    """Predicted maps of one tile, and the nuclei of its ground truth."""

    instances: Int32[np.ndarray, "h w"]
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]


def tile_bpq(task: BpqTask) -> float:
    """bPQ of the tile; NaN where the ground truth has no nucleus (PanNuke's protocol)."""
    if not task.instances.any():
        return math.nan
    return panoptic_quality(task.instances, segment(task.np_prob, task.hv)).pq
