"""Maps of one window -> its nuclei as candidates for those of the image; imports no torch: worker processes start fast."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32, Int64, UInt8

from cellvit.formats.nuclei import NucleiTable
from cellvit.hover.classes import calibrated, class_probabilities, classify
from cellvit.hover.decode import Watershed, segment_grid
from cellvit.hover.relabel import relabel
from cellvit.prediction.grid import TileGrid
from cellvit.prediction.measurements import Moments, Pixels, contours, moments, pixels_of, stains
from cellvit.prediction.outlines import traced
from cellvit.taxonomy import TILE_PX

SPARE_PX: Final = 16
"""A nucleus whose centroid lies up to so far outside the core is a spare candidate (decision: half the width of a nucleus)."""


@dataclass(frozen=True, slots=True)
class Window:
    """Where the 256 x 256 px of a tile lie in the image; px of the model from the top left corner of the image.

    Attributes:
        row, column: Position of the tile in the grid.
        x, y: First pixel.
        core: Left, top, right and bottom of the core of the tile (`cellvit.prediction.grid`).
        image_size: Width and height of the image; a smaller image is extended to the window.
    """

    row: int
    column: int
    x: int
    y: int
    core: tuple[int, int, int, int]
    image_size: tuple[int, int]


def window_of(grid: TileGrid, row: int, column: int) -> Window:
    """The window of a tile of the grid."""
    left, right = grid.columns.core(column)
    top, bottom = grid.rows.core(row)
    return Window(
        row=row,
        column=column,
        x=grid.columns.starts[column],
        y=grid.rows.starts[row],
        core=(left, top, right, bottom),
        image_size=(grid.columns.side_px, grid.rows.side_px),
    )


def candidates_of(
    window: Window,
    image: UInt8[np.ndarray, "256 256 3"],
    np_prob: Float[np.ndarray, "256 256"],
    hv: Float[np.ndarray, "2 256 256"],
    nt_prob: Float[np.ndarray, "c 256 256"],
    *,
    watershed: Watershed,
    temperature: float,
    unlike: bool,
) -> NucleiTable:
    """Nuclei decoded from the maps of this window alone whose centroid lies in its core, or up to `SPARE_PX` outside it.

    They are those of `cellvit.inference.segment.segment_tile`, without pixels outside the image.

    Args:
        nt_prob: Probability of the classes of the data set, background first.
        temperature: Of the class probabilities (`cellvit.hover.classes.calibrated`).
        unlike: Whether the tile is unlike the training data.
    """
    ((_, found),) = segment_grid(np_prob, hv, [watershed])
    found = _inside_image(found, window)
    every_pixel = pixels_of(found)
    every_nucleus = moments(every_pixel, int(found.max(initial=0)))
    near = _in_core(every_nucleus.x + window.x, every_nucleus.y + window.y, window, margin_px=SPARE_PX)
    n_nuclei = int(near.sum())
    if not n_nuclei:
        return NucleiTable.none(len(nt_prob) - 1)

    instances = _near_first(near)[found]
    pixels = _pixels_at(every_pixel, near)
    candidates = np.where(instances <= n_nuclei, instances, 0)
    shape = Moments(*(values[near] for values in every_nucleus))
    outlines = traced(instances, n_nuclei, left=window.x, top=window.y)
    contour = contours(outlines, n_nuclei)
    hematoxylin, eosin = stains(image, pixels, n_nuclei)
    x, y = shape.x + window.x, shape.y + window.y
    from_centre = np.hypot(shape.x - TILE_PX / 2, shape.y - TILE_PX / 2)
    return NucleiTable(
        x=x,
        y=y,
        row=np.full(n_nuclei, window.row, np.int32),
        column=np.full(n_nuclei, window.column, np.int32),
        owned=_in_core(x, y, window, margin_px=0),
        cut=_touches_border(candidates, n_nuclei, window),
        centre_px=from_centre.astype(np.float32),
        nucleus_class=classify(candidates, nt_prob).classes,
        probability=calibrated(class_probabilities(candidates, nt_prob), temperature),
        area_px=shape.area_px,
        perimeter_px=contour.perimeter_px,
        eccentricity=shape.eccentricity,
        solidity=contour.solidity,
        orientation=shape.orientation,
        hematoxylin=hematoxylin,
        eosin=eosin,
        unlike=np.full(n_nuclei, unlike),
        outlines=outlines,
    )


def _inside_image(instances: Int32[np.ndarray, "256 256"], window: Window) -> Int32[np.ndarray, "256 256"]:
    """Nuclei of an image below the size of a tile without their pixels in the extension, numbered without gaps."""
    width, height = window.image_size[0] - window.x, window.image_size[1] - window.y
    if width >= TILE_PX and height >= TILE_PX:
        return instances
    inside = instances.copy()
    inside[height:], inside[:, width:] = 0, 0
    return relabel(inside)


def _near_first(near: Bool[np.ndarray, " n"]) -> Int32[np.ndarray, " n_plus_1"]:
    """New label of each label: candidates are 1..k; the other nuclei follow, so that outlines keep away from them."""
    label = np.zeros(len(near) + 1, np.int32)
    label[1:] = np.where(near, near.cumsum(), near.sum() + (~near).cumsum())
    return label


def _pixels_at(pixels: Pixels, near: Bool[np.ndarray, " n"]) -> Pixels:
    """The pixels of these nuclei, which are numbered again without gaps."""
    kept = near[pixels.nucleus]
    return Pixels((near.cumsum() - 1)[pixels.nucleus[kept]], pixels.x[kept], pixels.y[kept])


def _in_core(
    x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"], window: Window, *, margin_px: int
) -> Bool[np.ndarray, " n"]:
    left, top, right, bottom = window.core
    within_columns = (x >= left - margin_px) & (x < right + margin_px)
    within: Bool[np.ndarray, " n"] = within_columns & (y >= top - margin_px) & (y < bottom + margin_px)
    return within


def _touches_border(instances: Int32[np.ndarray, "256 256"], n_nuclei: int, window: Window) -> Bool[np.ndarray, " n"]:
    """Whether each nucleus touches a border of the window that is not a border of the image."""
    width, height = window.image_size
    borders: list[Int32[np.ndarray, " 256"] | Int64[np.ndarray, " 256"]] = [np.zeros(1, np.int32)]
    if window.x > 0:
        borders.append(instances[:, 0])
    if window.y > 0:
        borders.append(instances[0])
    if window.x + TILE_PX < width:
        borders.append(instances[:, -1])
    if window.y + TILE_PX < height:
        borders.append(instances[-1])
    cut = np.zeros(n_nuclei + 1, bool)
    cut[np.concatenate(borders)] = True
    return cut[1:]
