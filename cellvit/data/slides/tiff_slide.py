"""TIFF and OME-TIFF files of any size, read tile by tile with tifffile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import UInt8

from cellvit.data.opening import readable
from cellvit.data.resolution import tiff_spacings
from cellvit.data.slides.rectangles import Rectangle, downsample_of, on_glass
from cellvit.data.slides.simulated import simulated_notes
from cellvit.data.slides.stated_mpp import chosen_mpp
from cellvit.data.slides.tiff_level import TiffLevel
from cellvit.data.slides.tile_cache import TileCache
from cellvit.data.tiff import check_exact


class TiffSlide:
    """The first image of a TIFF file with its pyramid. Attributes as in `Slide`.

    Only one thread may read at a time, because the tiles come from one open file through one cache.
    """

    def __init__(self, path: Path, mpp: float | None = None) -> None:
        self.path = path
        with readable(path, "a TIFF image"):
            self._tif = tifffile.TiffFile(path)
        try:
            with readable(path, "a TIFF image"):
                notes = self._find_levels()
                full = self._levels[0]
                self.width, self.height = full.width, full.height
                stated = tiff_spacings(path, self._tif, self._tif.series[0].levels[0].keyframe)
            self.mpp, self.mpp_source, mpp_notes = chosen_mpp(path, stated, mpp)
            name = "OME-TIFF" if self._tif.is_ome else "TIFF"
            self.kind = f"{name} (tifffile {tifffile.__version__}, {len(self._levels)} levels)"
            self.notes = (*mpp_notes, *notes)
        except BaseException:
            self.close()
            raise

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> UInt8[np.ndarray, "height width 3"]:
        """Pixels of a rectangle, as in `Slide`; x and y are rounded to whole px of the level."""
        stored = self._levels[level]
        left, top = round(x / self.downsamples[level]), round(y / self.downsamples[level])
        place = Rectangle(left, top, left + width, top + height)
        return on_glass(place, (stored.width, stored.height), stored.read)

    def close(self) -> None:
        """Close the file."""
        self._tif.close()

    def _find_levels(self) -> list[str]:
        """Set the levels that can be read; returns notes on what is left out."""
        first, *reduced = self._tif.series[0].levels
        cache = TileCache()
        check_exact(self.path, first.keyframe)
        self._levels = [TiffLevel(self.path, first.keyframe, cache)]
        downsamples, notes = [1.0], list(_notes(self._tif))
        full = self._levels[0]
        full.try_tile()
        for number, series in enumerate(reduced, 1):
            page = series.keyframe
            down = downsample_of((full.width, full.height), (page.imagewidth, page.imagelength))
            level = TiffLevel(self.path, page, cache) if _is_like(page, first.keyframe) else None
            if level is None or down <= downsamples[-1] or (full.is_stored.any() and not level.is_stored.any()):
                notes.append(f"Level {number} of the pyramid is empty or of another kind, and is not used.")
                continue
            self._levels.append(level)
            downsamples.append(down)
        self.downsamples = tuple(downsamples)
        return notes


def _is_like(page: Any, full: Any) -> bool:
    """True if a level has the same channels as the full resolution."""
    return (page.samplesperpixel, page.dtype, page.planarconfig) == (
        full.samplesperpixel,
        full.dtype,
        full.planarconfig,
    )


def _notes(tif: tifffile.TiffFile) -> Iterator[str]:
    yield from simulated_notes(tif.pages.first.description)
    planes = len(tif.series[0].pages)
    if planes > 1:
        yield f"The first of {planes} planes is read."
    if len(tif.series) > 1:
        yield f"The first of {len(tif.series)} images of the file is read."
