"""Nuclear pixels of instance maps as stretches of one id within a row."""

from typing import NamedTuple

from jaxtyping import Int64, Integer

from cellvit.hover import arrays
from cellvit.hover.arrays import Array


class Runs(NamedTuple):
    """Stretches: sums over a nucleus need no other pixels, and a tile has a tenth as many as nuclear pixels.

    Attributes:
        start: First pixel, counted through the batch.
        length_px: Number of pixels.
        ids: Instance id, not 0.
    """

    start: Int64[Array, " r"]
    length_px: Int64[Array, " r"]
    ids: Int64[Array, " r"]


def runs_of(flat: Integer[Array, " n"], width: int) -> Runs:
    """Stretches of nuclear pixels, in order, of maps of one width laid end to end."""
    begins = arrays.changes(flat)
    begins[::width] = True
    start = arrays.nonzero(begins)
    length_px = arrays.gaps(start, end=len(flat))
    ids = arrays.cast(flat[start], "int64")
    nuclear = arrays.nonzero(ids)
    return Runs(start[nuclear], length_px[nuclear], ids[nuclear])
