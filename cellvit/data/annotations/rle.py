"""Run-length encoded masks of COCO: runs of 0 and 1 by columns, as a list or as COCO's text."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Int64

_MOST_CHARACTERS: Final = 8
"""Of one number: 5 bits each, so up to 2^39."""
_LARGEST_MASK: Final = 2**30


class RunLengthError(ValueError):
    """The mask is not encoded as COCO does it."""


def mask_of(encoded: object) -> tuple[Bool[np.ndarray, "h n"], int, tuple[int, int]]:
    """The columns of a mask in which it is not empty, the number of the first, and height and width of the whole mask.

    Raises:
        RunLengthError: The runs do not fill the mask exactly, or are not encoded as COCO does it.
    """
    match encoded:
        case {"size": [int(height), int(width)], "counts": str() | bytes() | list() as counts} if (
            height > 0 and width > 0 and height * width <= _LARGEST_MASK
        ):
            pass
        case _:
            raise RunLengthError("expected an object with size [height, width] and counts")
    runs = _runs(counts)
    if (runs < 0).any() or sum(runs.tolist()) != height * width:
        raise RunLengthError(f"expected runs of together {height} x {width} pixels, found {sum(runs.tolist()):,}")

    ends = np.cumsum(runs)
    starts, stops = ends[0:-1:2], ends[1::2]
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    if not len(starts):
        return np.zeros((height, 0), bool), 0, (height, width)
    first, last = int(starts[0] // height), int((stops[-1] - 1) // height)
    change = np.zeros((last - first + 1) * height + 1, np.int8)
    change[starts - first * height] += 1
    np.subtract.at(change, stops - first * height, 1)
    inside = np.cumsum(change[:-1], dtype=np.int8) > 0
    return inside.reshape(-1, height).T, first, (height, width)


def _runs(counts: str | bytes | list) -> Int64[np.ndarray, " n"]:
    if isinstance(counts, list):
        if not all(type(run) is int and 0 <= run <= _LARGEST_MASK for run in counts):
            raise RunLengthError("expected counts as whole numbers of pixels")
        return np.array(counts, np.int64)
    try:
        text = counts if isinstance(counts, bytes) else counts.encode("ascii")
    except UnicodeEncodeError as error:
        raise RunLengthError("expected counts as text of ASCII characters") from error
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = character - ord("0")
        if not 0 <= bits < 64 or shift >= 5 * _MOST_CHARACTERS:
            raise RunLengthError(f"found the character {chr(character)!r} or a number that is too long in counts")
        number |= (bits & 31) << shift  # five bits of the number, the lowest first
        shift += 5
        if bits & 32:  # more follow
            continue
        if bits & 16:  # the number is negative
            number -= 1 << shift
        runs.append(
            number + (runs[-2] if len(runs) > 2 else 0)
        )  # COCO stores the difference to the run before the last
        number = shift = 0
    if shift:
        raise RunLengthError("found counts that end within a number")
    return np.array(runs, np.int64)
