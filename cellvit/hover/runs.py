"""Nuclear pixels of instance maps as runs: consecutive pixels of one id within a row."""

from typing import NamedTuple

from jaxtyping import Int64, Integer

from cellvit.hover import arrays
from cellvit.hover.arrays import Array


class Runs(NamedTuple):
    """Runs of a batch of maps; a tile has about ten times fewer runs than nuclear pixels.

    Attributes:
        start: Row-major index of the first pixel in the whole batch.
        length_px: Number of pixels.
        ids: Instance id, not 0.
    """

    start: Int64[Array, " r"]
    length_px: Int64[Array, " r"]
    ids: Int64[Array, " r"]


def runs_of(flat: Integer[Array, " n"], width: int) -> Runs:
    """Runs of nuclear pixels, in ascending order, of the concatenated maps of one width."""
    begins = arrays.changes(flat)
    begins[::width] = True
    start = arrays.nonzero(begins)
    length_px = arrays.gaps(start, end=len(flat))
    ids = arrays.cast(flat[start], "int64")
    nuclear = arrays.nonzero(ids)
    return Runs(start[nuclear], length_px[nuclear], ids[nuclear])
