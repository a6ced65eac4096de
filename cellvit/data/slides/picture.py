"""Images that are read as a whole and kept in memory: PNG, JPEG, JPEG 2000, and TIFF files without tiles."""

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import UInt8

from cellvit.data.images import read_stored
from cellvit.data.slides.rectangles import Rectangle, on_glass
from cellvit.data.slides.stated_mpp import chosen_mpp

_NOTES: Final = {
    "further_images": "The file has {n} further images, which are not read.",
    "alpha": "The alpha channel is left out; it is opaque everywhere.",
    "palette": "The colours of the palette were written out as RGB.",
}


class Picture:
    """An image in memory; at most `cellvit.data.tiff.LARGEST_PX` pixels. Attributes as in `Slide`."""

    def __init__(self, path: Path, mpp: float | None = None) -> None:
        image = read_stored(path)
        self.path = path
        self._pixels = image.pixels
        self.height, self.width = image.pixels.shape[:2]
        self.mpp, self.mpp_source, notes = chosen_mpp(path, image.spacings, mpp)
        self.kind = f"image ({path.suffix.lstrip('.').upper() or 'no suffix'}), read as a whole"
        self.downsamples: tuple[float, ...] = (1.0,)
        self.notes = (*notes, *(_NOTES[name].format(n=n) for name, n in image.counts.items()))

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> UInt8[np.ndarray, "height width 3"]:
        """Pixels of a rectangle, as in `Slide`."""
        assert level == 0, level
        place = Rectangle(x, y, x + width, y + height)
        return on_glass(place, (self.width, self.height), self._inside)

    def close(self) -> None:
        """Nothing is open."""

    def _inside(self, place: Rectangle) -> UInt8[np.ndarray, "h w 3"]:
        return self._pixels[place.top : place.bottom, place.left : place.right].copy()
