"""Maps of nuclei per square millimetre, of all and of each class, on a grid with cells of about 100 um."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64, Int64, UInt8
from PIL import Image, ImageDraw

from cellvit.evaluation.images import NP_COLOURS
from cellvit.prediction.outputs.drawing import INK, draw_lines, draw_scale_bar, font, on_paper
from cellvit.prediction.outputs.survey import Survey
from cellvit.prediction.result import PredictedImage

_CELL_UM: Final = 100.0
"""Side of a cell of the map (decision): tens of nuclei in cellular tissue, so that its density is more than chance."""

_LEAST_CELLS: Final = 8
"""An image whose longest side has fewer cells gets smaller ones, down to `_SMALLEST_UM`."""

_SMALLEST_UM: Final = 32.0
"""Half a tile of PanNuke."""

_MOST_CELLS: Final = 600
"""An image whose longest side had more cells gets larger ones: more could not be seen, and the map stays small."""

_SAMPLES: Final = 5
"""Points along the side of a cell at which the area is looked up: its share of the cell is in steps of 4 %."""

_LEAST_SHARE: Final = 0.25
"""Cells of which less lies inside the area have no value: a single nucleus there would be a high density."""

_LONGEST_PX: Final = 900
_UNDEFINED: Final = (225, 225, 225)
_LETTERS_PX: Final = 18
_SHEET_PX: Final = 640
"""Least width of the picture, for its text."""


@dataclass(frozen=True, slots=True)
class Density:
    """Nuclei on a grid of equal cells that covers the part of the image that is shown.

    Attributes:
        counts: Nuclei of each class in each cell.
        mm2: Analysed area in each cell.
        cell_px: Width and height of a cell in px of level 0.
        cell_um: The same in um.
        origin: Left and top of the grid in px of level 0.
    """

    counts: Int64[np.ndarray, "c gh gw"]
    mm2: Float64[np.ndarray, "gh gw"]
    cell_px: tuple[float, float]
    cell_um: tuple[float, float]
    origin: tuple[float, float]

    @property
    def is_a_map(self) -> bool:
        """False for a small image or area, whose few cells say no more than the counts."""
        return bool((self.mm2 > 0).sum() >= _LEAST_CELLS)

    def per_mm2(self, number: int | None = None) -> Float64[np.ndarray, "gh gw"]:
        """Density of a class by its number, or of all nuclei; NaN where too little of the cell was analysed."""
        counts = self.counts.sum(axis=0) if number is None else self.counts[number - 1]
        cell_mm2 = self.cell_um[0] * self.cell_um[1] / 1e6
        density = np.full(counts.shape, np.nan)
        np.divide(counts, self.mm2, out=density, where=self.mm2 >= _LEAST_SHARE * cell_mm2)
        return density


def density_of(survey: Survey, image: PredictedImage) -> Density:
    """Count the nuclei in cells, and measure how much of each cell was analysed."""
    facts, n_classes = image.run.image, image.data_set.n_classes
    (n_columns, width), (n_rows, height) = _cells(image)
    places = ((survey.centroids * facts.scale - image.view.origin) / (width, height)).astype(np.int64)
    places = np.clip(places, 0, (n_columns - 1, n_rows - 1))
    flat = ((survey.classes.astype(np.int64) - 1) * n_rows + places[:, 1]) * n_columns + places[:, 0]
    counts = np.bincount(flat, minlength=n_classes * n_rows * n_columns).reshape(n_classes, n_rows, n_columns)
    mm2 = _analysed_mm2(image, (width, height), (n_rows, n_columns))
    origin = (image.view.left, image.view.top)
    return Density(counts, mm2, (width, height), (width * facts.mpp, height * facts.mpp), origin)


class DensityMap(NamedTuple):
    """The map of a class or of all nuclei as a picture.

    Attributes:
        sheet: The map with its colour bar, scale bar and notes.
        map: The map alone.
        high: Nuclei per mm2 of its highest cell; 0 without nuclei.
    """

    sheet: Image.Image
    map: Image.Image
    high: float


def density_map(density: Density, image: PredictedImage, number: int | None) -> DensityMap:
    """The map of a class, or of all nuclei, with its colour bar.

    Args:
        number: Number of the class; None for all nuclei.
    """
    values = density.per_mm2(number)
    high = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    picture = _enlarged(_coloured(values, high), image)
    width = max(picture.shape[1], _SHEET_PX)
    sheet = on_paper(picture, width_px=width, below_px=_LETTERS_PX * 30)
    name = "all nuclei" if number is None else image.data_set.class_names[number]
    y = _draw_bar(sheet, (8, picture.shape[0] + _LETTERS_PX // 2), high, f"nuclei per mm²: {name}")
    um_per_px = image.view.size[0] * image.run.image.mpp / picture.shape[1]
    draw = ImageDraw.Draw(sheet)
    y = draw_scale_bar(draw, (8, y), um_per_px=um_per_px, width_px=picture.shape[1], px=_LETTERS_PX)
    notes = (f"{image.run.image.name}. {cell_text(density)} Grey: not analysed.", *image.run.notices)
    end = draw_lines(draw, (8, y), notes, px=_LETTERS_PX - 3, width_px=width - 16)
    return DensityMap(sheet.crop((0, 0, sheet.width, end + 6)), Image.fromarray(picture), high)


def cell_text(density: Density) -> str:
    """The size of the cells, as a sentence."""
    width, height = density.cell_um
    return f"Cells of {width:.3g} x {height:.3g} µm."


def _cells(image: PredictedImage) -> tuple[tuple[int, float], tuple[int, float]]:
    """Number of cells along the width and along the height, and their size in px of level 0."""
    mpp, sides = image.run.image.mpp, image.view.size
    longest_um = max(sides) * mpp
    cell_um = max(min(_CELL_UM, max(_SMALLEST_UM, longest_um / _LEAST_CELLS)), longest_um / _MOST_CELLS)
    n_columns, n_rows = (max(1, round(side * mpp / cell_um)) for side in sides)
    return (n_columns, sides[0] / n_columns), (n_rows, sides[1] / n_rows)


def _analysed_mm2(
    image: PredictedImage, cell_px: tuple[float, float], shape: tuple[int, int]
) -> Float64[np.ndarray, "gh gw"]:
    """Analysed area of each cell: the share of points in it that lie inside the area."""
    (width, height), (n_rows, n_columns) = cell_px, shape
    within = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    x = ((np.arange(n_columns)[:, None] + within) * width).ravel() + image.view.left
    share = np.empty(shape)
    for row in range(n_rows):  # a row at a time: all points of a large slide are millions
        y = (row + within) * height + image.view.top
        inside = image.area.contains(np.tile(x, _SAMPLES), np.repeat(y, len(x)))
        share[row] = inside.reshape(_SAMPLES, n_columns, _SAMPLES).mean(axis=(0, 2))
    return share * width * height * image.mm2_per_px


def _coloured(values: Float64[np.ndarray, "gh gw"], high: float) -> UInt8[np.ndarray, "gh gw 3"]:
    share = np.nan_to_num(values) / high if high > 0 else np.zeros(values.shape)
    pixels: UInt8[np.ndarray, "gh gw 3"] = np.rint(mpl.colormaps[NP_COLOURS](share)[..., :3] * 255).astype(np.uint8)
    pixels[np.isnan(values)] = _UNDEFINED
    return pixels


def _enlarged(pixels: UInt8[np.ndarray, "gh gw 3"], image: PredictedImage) -> UInt8[np.ndarray, "h w 3"]:
    """The map in the proportions of the image, with sharp borders of the cells."""
    width, height = image.view.size
    scale = _LONGEST_PX / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


def _draw_bar(sheet: Image.Image, place: tuple[int, int], high: float, title: str) -> int:
    """Draw the colour bar with its ends, and its unit in words; the y of what follows."""
    draw, (x, y), px = ImageDraw.Draw(sheet), place, _LETTERS_PX
    draw.text((x, y), title, fill=INK, font=font(px))
    y += round(1.5 * px)
    draw.text((x, y), "0", fill=INK, font=font(px))
    x += px
    steps = np.rint(mpl.colormaps[NP_COLOURS](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    sheet.paste(Image.fromarray(np.tile(steps, (px, 1, 1))), (x, y + 2))
    draw.text((x + 256 + px // 2, y), f"{high:,.0f} (highest cell)" if high else "none", fill=INK, font=font(px))
    return y + round(1.8 * px)
