"""One level of a TIFF pyramid, of which rectangles are decoded tile by tile."""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from jaxtyping import Bool, UInt8

from cellvit.data.opening import readable
from cellvit.data.slides.rectangles import GLASS, Rectangle
from cellvit.data.slides.tile_cache import CACHE_BYTES, TileCache
from cellvit.errors import ContractError

_OPAQUE: Final = 255

Pixels = UInt8[np.ndarray, "h w 3"]


class TiffLevel:
    """A page of a TIFF file in tiles or strips; RGB of 8 bits, with or without an opaque alpha channel.

    Attributes:
        width, height: Size of the level in px.
        is_stored: For each tile, row by row, whether the file has it; scanners leave out what they did not scan.
    """

    def __init__(self, path: Path, page: Any, cache: TileCache) -> None:
        self._path, self._page, self._cache = path, page, cache
        self.width, self.height = int(page.imagewidth), int(page.imagelength)
        self._tile = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, self.width)
        # tifffile joins strips that follow each other: their rows lie in the file as in the image.
        self._is_raw = bool(page.is_contiguous) and not page.is_tiled
        self._columns = math.ceil(self.width / self._tile[1])
        self._offsets, self._sizes = np.array(page.dataoffsets), np.array(page.databytecounts)
        self.is_stored: Bool[np.ndarray, " n"] = (self._offsets > 0) & (self._sizes > 0)
        self._check()

    def read(self, place: Rectangle) -> Pixels:
        """Pixels of a rectangle inside the level; what the file does not have is white.

        Raises:
            ContractError: A tile is damaged, or transparent.
        """
        if self._is_raw:
            return self._raw(place)
        pixels = np.empty((place.bottom - place.top, place.right - place.left, 3), np.uint8)
        rows, columns = self._tile
        for row in range(place.top // rows, (place.bottom - 1) // rows + 1):
            for column in range(place.left // columns, (place.right - 1) // columns + 1):
                y, x = row * rows, column * columns
                part = Rectangle(
                    max(place.left, x), max(place.top, y), min(place.right, x + columns), min(place.bottom, y + rows)
                )
                tile = self._segment(row * self._columns + column)
                pixels[
                    part.top - place.top : part.bottom - place.top, part.left - place.left : part.right - place.left
                ] = tile[part.top - y : part.bottom - y, part.left - x : part.right - x]
        return pixels

    def try_tile(self) -> None:
        """Decode the first tile of the file, so that a compression that cannot be read is an error at once."""
        if self.is_stored.any() and not self._is_raw:
            self._segment(int(self.is_stored.argmax()))

    def _segment(self, index: int) -> Pixels:
        """A tile or strip; tiles that share their place in the file, as white ones of some programs, are decoded once."""
        row, column = divmod(index, self._columns)
        rows, columns = self._tile
        size = min(rows, self.height - row * rows), min(columns, self.width - column * columns)
        if not self.is_stored[index]:
            return self._cache.get(("glass", size), lambda: np.full((*size, 3), GLASS, np.uint8))
        key = (self._page.offset, int(self._offsets[index]), size)
        return self._cache.get(key, lambda: self._decoded(index, size))

    def _decoded(self, index: int, size: tuple[int, int]) -> Pixels:
        with readable(self._path, f"a readable tile {index}"):
            file = self._page.parent.filehandle
            file.seek(int(self._offsets[index]))
            encoded = file.read(int(self._sizes[index]))
            stored = self._page.decode(encoded, index, jpegtables=self._page.jpegtables)[0]
            return self._rgb(np.asarray(stored)[0, : size[0], : size[1]])

    def _raw(self, place: Rectangle) -> Pixels:
        shape = (self.height, self.width, self._page.samplesperpixel)
        stored = np.memmap(self._path, np.uint8, "r", int(self._offsets[0]), shape)
        return self._rgb(np.array(stored[place.top : place.bottom, place.left : place.right]))

    def _rgb(self, stored: UInt8[np.ndarray, "h w c"]) -> Pixels:
        if stored.shape[2] == 4 and not (stored[..., 3] == _OPAQUE).all():
            raise ContractError(
                f"{self._path}: expected an opaque image, found an alpha channel with values from {int(stored[..., 3].min())}: "
                "what shows through is not known. Fix: save the image without transparency."
            )
        return np.ascontiguousarray(stored[..., :3])

    def _check(self) -> None:
        page, path = self._page, self._path
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            raise ContractError(
                f"{path}: expected the three colours of a pixel beside each other, found a plane for each in an image of "
                f"{self.width:,} x {self.height:,} px. Fix: save it as an interleaved, tiled TIFF, for example from QuPath "
                "(File > Export images > Original pixels, OME-TIFF)."
            )
        decoded = min(self._tile[0], self.height) * self._tile[1] * page.samplesperpixel
        if not self._is_raw and decoded > CACHE_BYTES:
            raise ContractError(
                f"{path}: expected tiles or strips of at most {CACHE_BYTES:,} bytes, found {self._tile[1]:,} x {self._tile[0]:,} px. "
                "Fix: save the image as a tiled TIFF, for example from QuPath (File > Export images > Original pixels, OME-TIFF)."
            )
        self._check_segments()

    def _check_segments(self) -> None:
        expected = 1 if self._is_raw else math.ceil(self.height / self._tile[0]) * self._columns
        if len(self._offsets) != expected or len(self._sizes) != expected:
            raise ContractError(
                f"{self._path}: expected {expected} tiles or strips, found {len(self._offsets)}. Fix: export it again."
            )
        end, found = int((self._offsets + self._sizes)[self.is_stored].max(initial=0)), self._path.stat().st_size
        if end > found:
            raise ContractError(
                f"{self._path}: expected pixels up to byte {end:,}, found a file of {found:,} bytes: the file is truncated. "
                "Fix: copy or export it again."
            )
