"""Slides of any size written by tests: pyramids as plain TIFF, Aperio and OME-TIFF, and sparse slides of mostly white."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tifffile

Pixels = Callable[[int, int, int, int], np.ndarray]
"""Pixels (height, width, 3) of the rectangle x, y, width, height of the full resolution."""

Patch = tuple[int, int, np.ndarray]
"""Left, top and pixels (height, width, 3) of a rectangle of tissue."""

Kind = Literal["tiff", "aperio", "ome"]

WHITE = 245
"""Grey value of the glass of sparse slides."""


def write_pyramid(
    path: Path,
    image: np.ndarray | Pixels,
    mpp: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    kind: Kind = "tiff",
    n_levels: int = 3,
    **options: Any,
) -> Path:
    """Write a tiled pyramid whose levels are each half as large, by the mean of 2 x 2 px.

    Args:
        image: Pixels, or a function that gives those of a rectangle; then `size` is needed.
        mpp: Micrometres per pixel of the full resolution, as this kind of file states them; None: nowhere.
        size: Width and height.
        kind: "tiff" and "ome" are read with tifffile, "aperio" with OpenSlide.
        options: Of tifffile's `TiffWriter.write`, for example tile=(256, 256), compression="jpeg".
    """
    pixels = image if callable(image) else _rectangles_of(image)
    width, height = size or np.shape(image)[1::-1]
    options = {"tile": (256, 256), "compression": "deflate", "photometric": "rgb", **options}
    with tifffile.TiffWriter(path, bigtiff=width * height > 2**30, ome=kind == "ome") as tif:
        for level in range(n_levels):
            down = 2**level
            shape = (max(1, height // down), max(1, width // down), 3)
            tif.write(
                _tiles(pixels, shape, down, options["tile"]),
                shape=shape,
                dtype=np.uint8,
                **options,
                **_described(kind, level, shape, mpp, n_levels),
            )
    return path


def write_sparse_slide(
    path: Path,
    side_px: int,
    patches: Sequence[Patch],
    *,
    mpp: float = 0.25,
    tile_px: int = 512,
    n_levels: int = 7,
    missing: bool = False,
) -> Path:
    """Write a square slide of any size in seconds: white glass (one tile for all of it) with some patches of tissue.

    Args:
        patches: Left, top and pixels of each patch, which must not overlap.
        n_levels: Levels of the pyramid, each half as large; 7 reach a downsample of 64.
        missing: Leave tiles of glass out of the file, as scanners do where they did not scan.
    """
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for level in range(n_levels):
            side = max(1, side_px // 2**level)
            tif.write(
                _sparse_tiles([_smaller(patch, 2**level) for patch in patches], side, tile_px),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(tile_px, tile_px),
                compression="deflate",
                photometric="rgb",
                maxworkers=1,
                **_described("tiff", level, (side, side, 3), mpp, n_levels),
            )
    if not missing:
        _share_one_white_tile(path, tile_px)
    return path


def _rectangles_of(image: np.ndarray) -> Pixels:
    return lambda x, y, width, height: image[y : y + height, x : x + width]


def _glass_with(patches: Sequence[Patch]) -> Pixels:
    def pixels(x: int, y: int, width: int, height: int) -> np.ndarray:
        found = np.full((height, width, 3), WHITE, np.uint8)
        for left, top, patch in patches:
            right, bottom = min(x + width, left + patch.shape[1]), min(y + height, top + len(patch))
            from_x, from_y = max(x, left), max(y, top)
            if from_x < right and from_y < bottom:
                part = patch[from_y - top : bottom - top, from_x - left : right - left]
                found[from_y - y : bottom - y, from_x - x : right - x] = part
        return found

    return pixels


def _tiles(pixels: Pixels, shape: tuple[int, int, int], down: int, tile: tuple[int, int]) -> Iterator[np.ndarray]:
    """Tiles of one level, row by row; incomplete at the right and lower border."""
    height, width = shape[:2]
    for y in range(0, height, tile[0]):
        for x in range(0, width, tile[1]):
            size = min(tile[1], width - x), min(tile[0], height - y)
            yield _reduced(pixels(x * down, y * down, size[0] * down, size[1] * down), size)


def _reduced(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return pixels if pixels.shape[1::-1] == size else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _smaller(patch: Patch, down: int) -> Patch:
    x, y, pixels = patch
    height, width = pixels.shape[:2]
    return x // down, y // down, _reduced(pixels, (max(1, width // down), max(1, height // down)))


def _sparse_tiles(patches: Sequence[Patch], side: int, tile_px: int) -> Iterator[np.ndarray | None]:
    """Tiles of one level; None where there is only glass, except for the first one."""
    pixels = _glass_with(patches)
    wanted = {
        (row, column)
        for x, y, patch in patches
        for row in range(y // tile_px, (y + len(patch) - 1) // tile_px + 1)
        for column in range(x // tile_px, (x + patch.shape[1] - 1) // tile_px + 1)
    }
    for row in range(-(-side // tile_px)):
        for column in range(-(-side // tile_px)):
            if (row, column) in wanted or row + column == 0:  # tifffile needs the first one
                x, y = column * tile_px, row * tile_px
                yield pixels(x, y, min(tile_px, side - x), min(tile_px, side - y))
            else:
                yield None


def _share_one_white_tile(path: Path, tile_px: int) -> None:
    """Let every missing tile point to one tile of glass at the end of the file."""
    glass = tifffile.TIFF.COMPRESSORS[8](np.full((tile_px, tile_px, 3), WHITE, np.uint8))
    with path.open("ab") as file:
        at = file.tell()
        file.write(glass)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page in tif.pages:
            offsets, sizes = page.dataoffsets, page.databytecounts
            page.tags["TileOffsets"].overwrite([offset or at for offset in offsets])
            page.tags["TileByteCounts"].overwrite([size or len(glass) for size in sizes])


def _described(kind: Kind, level: int, shape: tuple[int, int, int], mpp: float | None, n_levels: int) -> dict[str, Any]:
    """What the file says of a level, as options of tifffile's `write`."""
    height, width = shape[:2]
    match kind:
        case "ome":
            if level:
                return {"metadata": None, "subfiletype": 1}
            size = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            return {"metadata": {"axes": "YXS", **size}, "subifds": n_levels - 1}
        case "aperio":
            stated = "" if mpp is None else f"|MPP = {mpp}"
            text = f"Aperio Image Library v12.0.15\r\n{width}x{height} [0,0 {width}x{height}] (256x256)|AppMag = 20{stated}"
            return {"metadata": None, "description": text, "subfiletype": 1 if level else 0}
    tags: dict[str, Any] = {"metadata": None, "subfiletype": 1 if level else 0}
    if mpp is not None:
        per_cm = 10_000 / (mpp * 2**level)
        tags |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    return tags
