"""The picture of a prediction: the image with all nuclei in the colours of their classes, with legend and scale bar.

Where a nucleus is wide enough in the picture, its outline is drawn, with a dark line around it. On a slide, where a nucleus is a pixel or
two, dots are drawn in the order of the output, which runs along rows and not by class, so that no class hides another one; the
tissue below them is paler then.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
import shapely
from jaxtyping import Float64, UInt8
from PIL import Image, ImageDraw

from cellvit.evaluation.contours import halos_of
from cellvit.evaluation.images import class_palette
from cellvit.prediction.outputs.drawing import Entry, draw_legend, draw_lines, draw_scale_bar, on_paper
from cellvit.prediction.result import PredictedImage

_CONTOUR_UM: Final = 0.75
"""Micrometres per pixel of the picture below which outlines are drawn: a nucleus of 8 um is 11 px wide there."""

_DOT_UM: Final = 2.0
"""Radius of a dot: half of a nucleus, so that neighbours are seen apart."""

_SMALLEST_SIDE: Final = 1024
_MOST_TIMES: Final = 8
"""A small image is enlarged to this longest side, but not more than so many times."""

_SHEET_PX: Final = 900
"""Least width of the picture, for its legend."""

LINE_PX: Final = 2
"""Width of an outline, without the dark line around it; more where the image is enlarged."""

_PALE: Final = 0.45
"""How far the tissue below dots fades to `_PALE_GREY`: white, yellow and black dots are seen on all of it."""

_PALE_GREY: Final = 165
_STRIPES_PX: Final = (2, 12)
"""Width of the stripes over tiles that are unlike the training data, and their distance."""

_STRIPE: Final = (100, 100, 100)
_OUTLINE: Final = (0, 90, 200)
"""Blue of the outline of the analysed area: no colour of H&E, and of none of the classes."""

_LETTERS_PX: Final = 20
_SHIFT: Final = 4
"""Bits of the fraction of a pixel in coordinates that are given to OpenCV."""


class Picture(NamedTuple):
    """A finished picture: the sheet with its legend, and the size of the image at its top left."""

    sheet: Image.Image
    width: int
    height: int

    @property
    def image(self) -> Image.Image:
        """The image without the legend."""
        return self.sheet.crop((0, 0, self.width, self.height))


class Overlay:
    """Collects the marks of the nuclei chunk by chunk; memory is one byte for each pixel of the picture."""

    def __init__(self, image: PredictedImage) -> None:
        """Begin with no nuclei."""
        height, width = image.view.pixels.shape[:2]
        times = min(_MOST_TIMES, max(1, _SMALLEST_SIDE // max(height, width)))
        self._image, self._times = image, times
        self._scale = image.view.scale / times  # px of level 0 for each px of the picture
        self._marks = np.zeros((height * times, width * times), np.uint8)
        um_per_px = self._scale * image.run.image.mpp
        self.draws_outlines = um_per_px <= _CONTOUR_UM
        self._line_px = LINE_PX + times // 2 if self.draws_outlines else 1
        self._um_per_px, self._radius = um_per_px, int(_DOT_UM / um_per_px)

    def add(
        self, polygons: np.ndarray, centroids: Float64[np.ndarray, "n 2"], classes: UInt8[np.ndarray, " n"]
    ) -> None:
        """Draw nuclei.

        Args:
            polygons: Their outlines in px of level 0.
            centroids: x and y in px of level 0.
        """
        if self.draws_outlines:
            origin = (self._image.view.left, self._image.view.top)
            draw_outlines(self._marks, polygons, classes, scale=self._scale, line_px=self._line_px, origin=origin)
        else:
            self._draw_dots((centroids - self._image.view.origin) / self._scale, classes)

    def picture(self) -> Picture:
        """The finished picture."""
        image = self._image
        height, width = self._marks.shape
        pixels = cv2.resize(image.view.pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        if not self.draws_outlines:
            _make_paler(pixels, image, self._scale)
        _hatch(pixels, (image.unlike_boxes - np.tile(image.view.origin, 2)) / self._scale)
        _draw_area(pixels, image, self._scale)
        halo, palette = self.draws_outlines or self._radius > 1, class_palette(image.data_set)
        drawn = painted(pixels, self._marks, palette, line_px=self._line_px, halo=halo)
        return Picture(self._with_legend(drawn), width, height)

    def _draw_dots(self, centres: Float64[np.ndarray, "n 2"], classes: UInt8[np.ndarray, " n"]) -> None:
        height, width = self._marks.shape
        columns, rows = np.clip(centres.astype(np.int64), 0, (width - 1, height - 1)).T
        if self._radius == 0:
            # Two by two pixels: one alone is lost where a screen shows the picture smaller.
            for down, right in ((1, 1), (1, 0), (0, 1), (0, 0)):
                self._marks[np.minimum(rows + down, height - 1), np.minimum(columns + right, width - 1)] = classes
            return
        for x, y, number in zip(columns.tolist(), rows.tolist(), classes.tolist(), strict=True):
            cv2.circle(self._marks, (x, y), self._radius, number, -1)

    def _with_legend(self, drawn: UInt8[np.ndarray, "h w 3"]) -> Image.Image:
        height, width = drawn.shape[:2]
        sheet = on_paper(drawn, width_px=_SHEET_PX, below_px=_LETTERS_PX * 60)
        draw, px, room = ImageDraw.Draw(sheet), _LETTERS_PX, max(width, _SHEET_PX) - 24
        y = draw_scale_bar(draw, (12, height + 12), um_per_px=self._um_per_px, width_px=width, px=px)
        y = draw_legend(draw, (12, y + 4), self._entries(), px=px, width_px=room)
        y = draw_lines(draw, (12, y + 2), self._notes(), px=px - 3, width_px=room)
        return sheet.crop((0, 0, sheet.width, y + 10))

    def _entries(self) -> list[Entry]:
        colors = self._image.data_set.color_of
        counts = self._image.run.counts
        of_classes = zip(counts[1:], self._image.data_set.class_names[1:], strict=True)
        return [
            Entry(f"All nuclei: {counts[0].n:,}"),
            *(Entry(f"{name}: {count.n:,}", colors[name]) for count, name in of_classes),
        ]

    def _notes(self) -> Sequence[str]:
        run = self._image.run
        unlike = (
            f"Striped: {run.n_unlike:,} of {run.n_judged:,} tiles are unlike the training data." if run.n_unlike else ""
        )
        edge = "Blue line: border of the analysed area." if not _covers_all(self._image) else ""
        if not self._image.view.is_whole:
            edge = f"The analysed part of the image alone. {edge}"
        shown = " ".join(filter(None, (f"{run.image.name}.", edge, unlike)))
        return (shown, *run.notices)


def draw_outlines(
    marks: UInt8[np.ndarray, "h w"],
    polygons: np.ndarray,
    classes: UInt8[np.ndarray, " n"],
    *,
    scale: float,
    line_px: int = LINE_PX,
    origin: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write the number of the class of each nucleus along its outline, one pixel wide, as `painted` expects it.

    Args:
        polygons: Outlines in px of level 0.
        scale: Px of level 0 for each pixel of `marks`.
        line_px: Width to which `painted` will widen the lines.
        origin: Px of level 0 at its top left corner.
    """
    rings, owners = _rings(polygons)
    # Pixel i covers i..i + 1. A line of an even width has its middle at the border of two pixels.
    middle = 0.5 if line_px % 2 else 1.0
    for ring, owner in zip(rings, owners, strict=True):
        points = ((ring - origin) / scale - middle) * (1 << _SHIFT)
        cv2.polylines(marks, [np.rint(points).astype(np.int32)], True, int(classes[owner]), 1, cv2.LINE_8, _SHIFT)


def painted(
    pixels: UInt8[np.ndarray, "h w 3"],
    marks: UInt8[np.ndarray, "h w"],
    palette: UInt8[np.ndarray, "k 3"],
    *,
    line_px: int = LINE_PX,
    halo: bool = True,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with the marks, widened to lines, in the colours of their classes, each with a dark halo (light around dark colours)."""
    drawn = pixels.copy()
    lines = cv2.dilate(marks, np.ones((line_px, line_px), np.uint8))
    marked = lines > 0
    if halo:
        around = cv2.dilate(lines, np.ones((3, 3), np.uint8))
        drawn[around > 0] = halos_of(palette)[around[around > 0]]
    drawn[marked] = palette[lines[marked]]
    return drawn


def _rings(polygons: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """All rings of the polygons, and the position of the polygon of each."""
    parts, of_polygon = shapely.get_parts(polygons, return_index=True)
    rings, of_part = shapely.get_rings(parts, return_index=True)
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    bounds = np.searchsorted(of_ring, np.arange(1, len(rings)))
    return np.split(points, bounds) if len(rings) else [], of_polygon[of_part].tolist()


def _make_paler(pixels: UInt8[np.ndarray, "h w 3"], image: PredictedImage, scale: float) -> None:
    """Fade the analysed area in place."""
    inside = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(inside, _area_lines(image, scale), 1, cv2.LINE_8, _SHIFT)  # holes are even-odd
    faded = inside > 0
    pixels[faded] = (pixels[faded] * (1 - _PALE) + _PALE_GREY * _PALE).astype(np.uint8)


def _hatch(pixels: UInt8[np.ndarray, "h w 3"], boxes: Float64[np.ndarray, "k 4"]) -> None:
    """Draw stripes over boxes in place; they join where boxes touch."""
    inside = np.zeros(pixels.shape[:2], bool)
    for left, top, right, bottom in np.rint(np.maximum(boxes, 0)).astype(int).tolist():
        inside[top:bottom, left:right] = True
    rows, columns = np.nonzero(inside)
    striped = (rows + columns) % _STRIPES_PX[1] < _STRIPES_PX[0]
    pixels[rows[striped], columns[striped]] = _STRIPE


def _draw_area(pixels: UInt8[np.ndarray, "h w 3"], image: PredictedImage, scale: float) -> None:
    if not _covers_all(image):
        cv2.polylines(pixels, _area_lines(image, scale), True, _OUTLINE, 2, cv2.LINE_AA, _SHIFT)


def _area_lines(image: PredictedImage, scale: float) -> list[np.ndarray]:
    """Rings of the analysed area in the pixels of the picture, as OpenCV reads them."""
    parts = shapely.get_parts(image.area.geometry)
    rings, _ = _rings(parts[shapely.get_dimensions(parts) == 2])
    return [np.rint(((ring - image.view.origin) / scale - 0.5) * (1 << _SHIFT)).astype(np.int32) for ring in rings]


def _covers_all(image: PredictedImage) -> bool:
    facts = image.run.image
    whole = shapely.box(0, 0, facts.width, facts.height)
    return bool(image.area.geometry.covers(whole))
