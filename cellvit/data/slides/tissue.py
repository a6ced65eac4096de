"""Where a slide has tissue, on a reduced copy: coloured parts, without glass, specks, and most pen marks."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import shapely
from jaxtyping import Bool, Float32, UInt8
from skimage.filters import threshold_otsu

from cellvit.data.slides.area import Area, frame_of, polygons_only
from cellvit.data.slides.resampling import reduced
from cellvit.data.slides.slide import Slide

PIXEL_UM: Final = 8.0
"""Size of a pixel of the reduced copy (decision): about one nucleus."""

_FEWEST_PX: Final = 512
"""Small images are reduced less, so that their longer side keeps as many px (decision)."""

_MOST_PX: Final = 4096
"""Longest side of the reduced copy (decision), which limits the memory that is needed."""

_LOWEST: Final = 12.0
_HIGHEST: Final = 22.0
"""Limits of the threshold on the colour, in levels of 0..255. Measured: glass of real slides has up to 8; of squares of 8 um in
400 real tiles, glass included, a twentieth has less than 15 and a quarter less than 33. Without limits, Otsu's method would
part noise from noise on an empty slide, and pale tissue from dark on a slide full of tissue."""

_GLASS_FROM: Final = 200
_GLASS_COLOUR: Final = 18
_GLASS_SHARE: Final = 0.05
"""Glass is at least so bright in its darkest channel, coloured by at most so much, and covers at least such a share."""

_SMOOTH_UM: Final = 8.0
_CLOSE_UM: Final = 24.0
_MARGIN_UM: Final = 16.0
"""Added around tissue, so that no nucleus at its border is left out."""

_SMALLEST_MM2: Final = 0.01
"""Smaller specks are left out (decision): a square of 0.1 mm; of images smaller than 1 mm2, a hundredth."""

_LARGEST_HOLE_MM2: Final = 0.05
"""Smaller holes are filled (decision)."""

Mask = Bool[np.ndarray, "h w"]
Pixels = UInt8[np.ndarray, "h w 3"]


def tissue_of(slide: Slide) -> Area:
    """The tissue of a slide; the geometry is empty if there is none."""
    longest = max(slide.width, slide.height)
    wanted = PIXEL_UM / slide.mpp if slide.mpp else longest / _MOST_PX
    scale = max(1.0, min(wanted, longest / _FEWEST_PX), longest / _MOST_PX)
    pixel_um = scale * slide.mpp if slide.mpp else PIXEL_UM
    mask, threshold = tissue_mask(reduced(slide, scale), pixel_um)
    found = polygons_of(mask, slide.width / mask.shape[1], slide.height / mask.shape[0])
    inside = polygons_only(shapely.intersection(found, frame_of(slide)))
    share = inside.area / (slide.width * slide.height)
    how = f"tissue, found by its colour (more than {threshold:.0f} of 255) at {pixel_um:.3g} um per pixel: {share:.1%} of the image"
    return Area(inside, "tissue: none was found" if inside.is_empty else how)


def tissue_mask(pixels: Pixels, pixel_um: float) -> tuple[Mask, float]:
    """Where there is tissue, and the threshold on the colour that was used."""
    pen = _pen(pixels)
    colour = _smooth(_colour(pixels), pixel_um)
    candidates = colour[~pen]
    # Otsu's method needs two values.
    is_mixed = candidates.size > 0 and float(np.ptp(candidates)) > 0
    threshold = float(np.clip(threshold_otsu(candidates) if is_mixed else 0.0, _LOWEST, _HIGHEST))
    mask = _morphed((colour > threshold) & ~pen, cv2.MORPH_CLOSE, _CLOSE_UM / pixel_um)
    mask = _morphed(mask, cv2.MORPH_OPEN, 1)
    pixel_mm2 = (pixel_um / 1000) ** 2
    mask = _without_small(mask, min(_SMALLEST_MM2 / pixel_mm2, mask.size / 100))
    mask = _morphed(mask, cv2.MORPH_DILATE, _MARGIN_UM / pixel_um)
    return ~_without_small(~mask, _LARGEST_HOLE_MM2 / pixel_mm2, spare_border=True), threshold


def polygons_of(mask: Mask, x_px: float, y_px: float) -> shapely.Geometry:
    """Outlines of the areas of a mask along the edges of its pixels, which are `x_px` wide and `y_px` high."""
    # OpenCV's outlines run through the centres of the pixels; of pixels in four parts, even those of a line enclose an area.
    parts = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, hierarchy = cv2.findContours(parts, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [(contour[:, 0] + 0.5) / 2 for contour in contours]
    polygons = []
    for number, ring in enumerate(rings):
        _, _, hole, parent = hierarchy[0][number]
        if parent >= 0:
            continue
        holes = []
        while hole >= 0:
            holes.append(rings[hole])
            hole = hierarchy[0][hole][0]
        polygons.append(shapely.Polygon(ring, holes).buffer(0.25, join_style="mitre"))
    area = shapely.union_all(polygons).simplify(0.5) if polygons else shapely.MultiPolygon()
    return shapely.transform(area, lambda points: points * (x_px, y_px))


def _colour(pixels: Pixels) -> Float32[np.ndarray, "h w"]:
    """How coloured each pixel is, 0..255: its largest channel less its smallest, with the glass as white."""
    planes = cv2.split(pixels)
    darkest, brightest = _extremes(planes)
    glass = (darkest >= _GLASS_FROM) & (brightest - darkest <= _GLASS_COLOUR)
    if glass.mean() >= _GLASS_SHARE:
        values = np.arange(256, dtype=np.float32)
        white = [max(1.0, float(np.median(plane[glass]))) for plane in planes]
        planes = tuple(
            np.minimum(values * (255 / light), 255)[plane] for plane, light in zip(planes, white, strict=True)
        )
        darkest, brightest = _extremes(planes)
    return np.asarray(brightest - darkest, np.float32)


def _pen(pixels: Pixels) -> Mask:
    """Marks of green, blue and red pens; black ones have no colour.

    Stained tissue is purple to pink: red and blue above green. Pens are pure colours, in which two channels are about equally
    dark, or green is brighter than red.
    """
    planes = cv2.split(pixels.astype(np.int16))
    red, green, blue = planes
    darkest, brightest = _extremes(planes)
    spread = brightest - darkest
    is_pure = (spread > 0.7 * brightest) & (np.minimum(red, blue) - green < 0.12 * brightest)
    is_green = (spread > 0.25 * brightest) & (green > red) & (green >= blue)
    is_blue = (spread > 0.45 * brightest) & (green > red + 5)
    return _morphed(is_pure | is_green | is_blue, cv2.MORPH_DILATE, 1)


def _extremes(planes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest channel of each pixel."""
    red, green, blue = planes
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)


def _smooth(colour: Float32[np.ndarray, "h w"], pixel_um: float) -> Float32[np.ndarray, "h w"]:
    return np.asarray(cv2.GaussianBlur(colour, (0, 0), _SMOOTH_UM / pixel_um, borderType=cv2.BORDER_REFLECT))


def _morphed(mask: Mask, way: int, radius_px: float) -> Mask:
    """A mask closed, opened or dilated with a disk; beyond the border, the mask goes on."""
    radius = max(1, round(radius_px))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    wide = np.pad(mask.astype(np.uint8), radius, mode="edge")
    made = cv2.morphologyEx(wide, way, disk)
    return np.asarray(made[radius:-radius, radius:-radius] > 0)


def _without_small(mask: Mask, fewest_px: float, *, spare_border: bool = False) -> Mask:
    """The mask without areas of fewer px; those that touch the border of the image are larger than they look."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = stats[:, cv2.CC_STAT_AREA] >= fewest_px
    if spare_border:
        border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        keep[border] = True
    keep[0] = False
    return np.asarray(keep[labels])
