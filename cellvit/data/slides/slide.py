"""A slide or image of any size that is open for reading, whatever program opened it."""

from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8


class Slide(Protocol):
    """An image, with its reduced copies if it has any. Only one thread may read it at a time.

    Attributes:
        width, height: Size of the full resolution (level 0) in px.
        mpp: Micrometres per pixel of level 0, from the file or as the user gave them.
        mpp_source: Where the resolution comes from, as "Aperio MPP" or "--mpp"; empty where it is not known.
        kind: What the file is and which library reads it, in words, as "Aperio slide (OpenSlide 4.0.1)".
        downsamples: Pixels of level 0 for each pixel of a level, of every level that can be read, 1.0 first.
        notes: What was converted or left out while reading, as sentences for the report; empty if nothing was.
    """

    path: Path
    width: int
    height: int
    mpp: float | None
    mpp_source: str
    kind: str
    downsamples: tuple[float, ...]
    notes: tuple[str, ...]

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> UInt8[np.ndarray, "height width 3"]:
        """Pixels of a rectangle, RGB; what lies outside of the slide, or was not scanned, is white.

        Args:
            x, y: Top left corner in px of level 0; rounded to whole px of the level.
            width, height: Size in px of the level.

        Raises:
            ContractError: The file is damaged there.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...
