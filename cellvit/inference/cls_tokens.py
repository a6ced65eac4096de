"""CLS tokens of tiles from a feature store; imports no torch."""

import numpy as np
from jaxtyping import Float32, Int

from cellvit.data.batches import IDENTITY
from cellvit.formats.hdf5 import Rows


def read_cls(features: Rows, rows: Int[np.ndarray, " r"]) -> Float32[np.ndarray, "r dim"]:
    """CLS tokens of the identity view, 6 KB per tile at the width of H-optimus."""
    cls = np.empty((len(rows), features.shape("cls")[-1]), np.float32)
    features.read_into("cls", rows, cls, (IDENTITY,))
    return cls
