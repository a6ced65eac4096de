"""Images of any size and resolution cut into the tiles of the model; docs/checks.md states the rules.

An image is first resampled to the resolution of the model, then covered with tiles from its top left corner. Every pixel
counts in one tile, and every nucleus belongs to one tile.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8

from cellvit.data.resampling import needs_resampling, resampled_image
from cellvit.errors import ContractError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.taxonomy import TILE_PX

SMALLEST_PX: Final = 64
"""Shortest side of an image that is cut (decision): a smaller one is mostly padding."""

NARROWEST_PX: Final = 16
"""A last column or row that adds fewer pixels is not cut (decision): at 0.25 um per pixel, no whole nucleus fits in it."""


@dataclass(frozen=True, slots=True)
class CutTile:
    """One tile of an image.

    Attributes:
        image: RGB; reflected beyond the border of a small image.
        instances: Nuclei 1..n without gaps, by class and then by the order of their labels; 0 is background.
        classes: Class of each pixel, 0 is background; `NOT_ANNOTATED` where the pixel counts in another tile or nowhere.
        x, y: Top left corner in pixels of the user's own image, before resampling.
    """

    image: UInt8[np.ndarray, "256 256 3"]
    instances: Int32[np.ndarray, "256 256"]
    classes: UInt8[np.ndarray, "256 256"]
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class CutImage:
    """All tiles of an image, and what was changed or left out.

    Attributes:
        scale: Pixels of the user's own image for each pixel of a tile; 1 if the image was not resampled.
        counts: By rule, without zeros: `nuclei_vanished` (too small to be seen after resampling), `nuclei_in_remainder` and
            `px_in_remainder` (in a last column or row that is too narrow to be cut), `nuclei_cut` (reach beyond the tile that
            they belong to), `px_padded` (reflected pixels around a small image), `tiles_without_annotation` (left out
            because no pixel of them counts).
    """

    tiles: tuple[CutTile, ...]
    scale: float
    counts: Mapping[str, int]


class _Labelled(NamedTuple):
    """An image with its labels on the same pixels."""

    image: UInt8[np.ndarray, "h w 3"]
    instances: Int32[np.ndarray, "h w"]
    classes: UInt8[np.ndarray, "h w"]


class _Window(NamedTuple):
    """A tile's place, and how many of its first rows and columns earlier tiles cover."""

    y: int
    x: int
    covered_y: int
    covered_x: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the tile."""
        return slice(self.y, self.y + TILE_PX), slice(self.x, self.x + TILE_PX)


def cut_image(
    pixels: UInt8[np.ndarray, "h w 3"],
    instances: Int32[np.ndarray, "h w"],
    classes: UInt8[np.ndarray, "h w"],
    *,
    mpp: float,
    model_mpp: float,
) -> CutImage:
    """Cut an annotated image into tiles of 256 px at the resolution of the model.

    Args:
        instances: Label of each nucleus, 0 elsewhere.
        classes: Class of each nuclear pixel, 0 is background, `NOT_ANNOTATED` where nothing counts.
        mpp: Micrometres per pixel of the image; `model_mpp` those of the tiles.

    Raises:
        ContractError: The image is too small, a resolution is not positive, or the three arrays do not fit together.
    """
    _check(pixels, instances, classes, mpp=mpp, model_mpp=model_mpp)
    counts: Counter[str] = Counter()
    own = _Labelled(pixels, _numbered(instances, classes), classes)
    resampled = _resampled(own, mpp / model_mpp)
    counts["nuclei_vanished"] = _n_nuclei(own.instances) - _n_nuclei(resampled.instances)
    labelled = _padded(resampled)
    counts["px_padded"] = labelled.instances.size - resampled.instances.size
    windows = _windows(*labelled.instances.shape)
    scale = model_mpp / mpp if needs_resampling(mpp, model_mpp) else 1.0
    owner = _owners(labelled.instances, windows)
    counts += _left_out(labelled, windows[-1])
    counts["nuclei_cut"] = _n_cut(labelled.instances, windows, owner)
    tiles = [_tile(labelled, window, owner == number, scale) for number, window in enumerate(windows)]
    annotated = tuple(tile for tile in tiles if (tile.classes != NOT_ANNOTATED).any())
    counts["tiles_without_annotation"] = len(tiles) - len(annotated)
    return CutImage(annotated, scale, {name: count for name, count in counts.items() if count})


def starts(side_px: int) -> tuple[int, ...]:
    """First pixel of each tile along a side of at least 256 px; the last tile ends at the border, if it adds enough.

    Examples:
        >>> starts(256), starts(271), starts(272), starts(1000)
        ((0,), (0,), (0, 16), (0, 256, 512, 744))
    """
    whole, remainder = divmod(side_px, TILE_PX)
    last = (side_px - TILE_PX,) if remainder >= NARROWEST_PX else ()
    return (*range(0, whole * TILE_PX, TILE_PX), *last)


def _check(
    pixels: UInt8[np.ndarray, "h w 3"],
    instances: Int32[np.ndarray, "h w"],
    classes: UInt8[np.ndarray, "h w"],
    *,
    mpp: float,
    model_mpp: float,
) -> None:
    if not (0 < mpp < np.inf and 0 < model_mpp < np.inf):
        raise ContractError(
            f"micrometres per pixel must be positive, found {mpp} for the image, {model_mpp} for the model"
        )
    if pixels.shape != (*instances.shape, 3) or pixels.dtype != np.uint8 or classes.shape != instances.shape:
        raise ContractError(
            f"image, instances and classes must have the same height and width, the image uint8 with 3 channels; found "
            f"{pixels.dtype} {pixels.shape}, {instances.shape} and {classes.shape}"
        )
    if min(instances.shape) < SMALLEST_PX:
        height, width = instances.shape
        raise ContractError(
            f"the image must have at least {SMALLEST_PX} px on each side, found {width} x {height} px. "
            "Fix: leave it out, or join it with its neighbours."
        )
    if not np.array_equal(instances != 0, (classes != 0) & (classes != NOT_ANNOTATED)):
        raise ContractError(
            "nuclei must have a class, and background and pixels that are not annotated must have no nucleus; "
            "`instances` and `classes` contradict each other"
        )


def _numbered(instances: Int32[np.ndarray, "h w"], classes: UInt8[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Nuclei 1..n without gaps, by class and then by label, which is the order of PanNuke's channels."""
    inside = np.flatnonzero(instances)
    labels = instances.reshape(-1)[inside].astype(np.int64)
    keys = classes.reshape(-1)[inside] * (labels.max(initial=0) + 1) + labels
    numbered = np.zeros(instances.size, np.int32)
    numbered[inside] = np.unique(keys, return_inverse=True)[1] + 1
    return numbered.reshape(instances.shape)


def _resampled(own: _Labelled, factor: float) -> _Labelled:
    """The image enlarged by `factor`, with the pixels that a prediction would see; labels take the value of the nearest pixel,
    so that no ids mix."""
    if not needs_resampling(factor, 1.0):
        return own
    image = resampled_image(own.image, 1 / factor)
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) / factor).astype(np.intp), old - 1)
        for new, old in zip(image.shape[:2], own.instances.shape, strict=True)
    )
    nearest = np.ix_(rows, columns)
    return _Labelled(image, own.instances[nearest], own.classes[nearest])


def _padded(labelled: _Labelled) -> _Labelled:
    """At least a tile in size: pixels reflected at the right and the lower border, which are not annotated."""
    beyond = [(0, max(0, TILE_PX - side)) for side in labelled.instances.shape]
    if not any(map(any, beyond)):
        return labelled
    return _Labelled(
        np.pad(labelled.image, [*beyond, (0, 0)], mode="reflect"),
        np.pad(labelled.instances, beyond),
        np.pad(labelled.classes, beyond, constant_values=NOT_ANNOTATED),
    )


def _windows(height: int, width: int) -> list[_Window]:
    """Places of the tiles, row by row."""
    rows, columns = starts(height), starts(width)
    covered_y, covered_x = ([0, *(a + TILE_PX - b for a, b in pairwise(at))] for at in (rows, columns))
    return [
        _Window(y, x, shared_y, shared_x)
        for y, shared_y in zip(rows, covered_y, strict=True)
        for x, shared_x in zip(columns, covered_x, strict=True)
    ]


def _owners(instances: Int32[np.ndarray, "h w"], windows: list[_Window]) -> Int64[np.ndarray, " n_plus_1"]:
    """Number of the tile that each nucleus belongs to: the first one that holds most of its pixels; -1 for none."""
    most = np.zeros(int(instances.max(initial=0)) + 1, np.int64)
    owner = np.full(len(most), -1, np.int64)
    for number, window in enumerate(windows):
        held = _px(instances[window.place], len(most))
        more = held > most
        most[more], owner[more] = held[more], number
    owner[0] = -1
    return owner


def _left_out(labelled: _Labelled, last: _Window) -> Counter[str]:
    """Annotated pixels, and whole nuclei, beyond the last tile."""
    height, width = last.y + TILE_PX, last.x + TILE_PX
    within = labelled.instances[:height, :width]
    outside_px = np.count_nonzero(labelled.classes != NOT_ANNOTATED) - np.count_nonzero(
        labelled.classes[:height, :width] != NOT_ANNOTATED
    )
    nuclei = _n_nuclei(labelled.instances) - _n_nuclei(within)
    return Counter({"px_in_remainder": int(outside_px), "nuclei_in_remainder": nuclei})


def _n_cut(instances: Int32[np.ndarray, "h w"], windows: list[_Window], owner: Int64[np.ndarray, " n_plus_1"]) -> int:
    """Nuclei of which pixels lie outside the tile that they belong to."""
    whole, held = _px(instances, len(owner)), np.zeros(len(owner), np.int64)
    for number, window in enumerate(windows):
        mine = owner == number
        held[mine] = _px(instances[window.place], len(owner))[mine]
    return int(np.count_nonzero((owner >= 0) & (held < whole)))


def _tile(labelled: _Labelled, window: _Window, is_own: Bool[np.ndarray, " n_plus_1"], scale: float) -> CutTile:
    """A tile with its own nuclei; what counts in another tile is not annotated."""
    labels, classes = labelled.instances[window.place], labelled.classes[window.place].copy()
    own = is_own[labels]
    elsewhere = labels > 0
    elsewhere[: window.covered_y] = True
    elsewhere[:, : window.covered_x] = True
    classes[elsewhere & ~own] = NOT_ANNOTATED
    numbers = np.cumsum(np.isin(np.arange(len(is_own)), labels[own]), dtype=np.int32)
    return CutTile(
        np.ascontiguousarray(labelled.image[window.place]),
        np.where(own, numbers[labels], 0).astype(np.int32),
        classes,
        x=round(window.x * scale),
        y=round(window.y * scale),
    )


def _px(instances: Int32[np.ndarray, "h w"], n_labels: int) -> Int64[np.ndarray, " n_plus_1"]:
    """Pixels of each label, background first."""
    return np.bincount(instances.ravel(), minlength=n_labels)


def _n_nuclei(instances: Int32[np.ndarray, "h w"]) -> int:
    return int(np.count_nonzero(_px(instances, 1)[1:]))
