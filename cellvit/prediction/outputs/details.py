"""Details at full resolution for the page: where most nuclei lie, and where most of each class lie."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import cv2
import numpy as np
import shapely
from jaxtyping import Float64, Int64, UInt8

from cellvit.evaluation.images import class_palette
from cellvit.prediction.outputs.density import Density
from cellvit.prediction.outputs.overlay import draw_outlines, painted
from cellvit.prediction.result import PredictedImage

_SIDE_UM: Final = 80.0
"""Side of a detail: a field in which every nucleus can be judged."""

_SHOWN_PX: Final = 640
"""Least side of its picture with outlines, so that an outline hides little of a nucleus."""

_MOST: Final = 6
"""Details of a page; a pair of pictures takes about 250 KB."""

_SHARED: Final = 0.25
"""Share of a detail that another one may show."""

_TRIED: Final = 200
"""Cells that are tried for a detail which shows something new."""

_LEAST_NUCLEI: Final = 3
"""A class with fewer nuclei in its densest cell gets no detail of its own."""


@dataclass(slots=True)
class Detail:
    """A part of the image that is shown, and the nuclei that were found in it so far.

    Attributes:
        title: Why it is shown.
        x, y, width, height: Rectangle in px of the model.
        polygons, classes: Outlines in px of level 0, and numbers of the classes.
    """

    title: str
    x: int
    y: int
    width: int
    height: int
    polygons: list[shapely.Geometry] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DetailPictures:
    """The same detail without and with outlines."""

    title: str
    plain: UInt8[np.ndarray, "h w 3"]
    outlined: UInt8[np.ndarray, "h2 w2 3"]
    caption: str


class Details:
    """Collects the nuclei of the details chunk by chunk."""

    def __init__(self, image: PredictedImage, density: Density) -> None:
        """Choose the details: the cell with most nuclei of all, then of each class."""
        self._image = image
        self.details = _chosen(image, density)

    def add(self, polygons: np.ndarray, classes: UInt8[np.ndarray, " n"]) -> None:
        """Keep the nuclei that a detail shows a part of; polygons in px of level 0."""
        scale, bounds = self._image.run.image.scale, shapely.bounds(polygons)
        for detail in self.details:
            left, top = detail.x * scale, detail.y * scale
            right, bottom = left + detail.width * scale, top + detail.height * scale
            meets = (bounds[:, 0] < right) & (bounds[:, 2] > left) & (bounds[:, 1] < bottom) & (bounds[:, 3] > top)
            detail.polygons += polygons[meets].tolist()
            detail.classes += classes[meets].tolist()

    def pictures(self) -> list[DetailPictures]:
        """Read the pixels of each detail, and draw its nuclei.

        Raises:
            ContractError: The image is damaged there.
        """
        return [self._drawn(detail) for detail in self.details]

    def _drawn(self, detail: Detail) -> DetailPictures:
        plain = self._image.pixels.read(detail.x, detail.y, detail.width, detail.height)
        times = max(1, -(-_SHOWN_PX // max(plain.shape[:2])))
        large = cv2.resize(plain, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
        marks = np.zeros(large.shape[:2], np.uint8)
        scale = self._image.run.image.scale
        origin = (detail.x * scale, detail.y * scale)
        polygons, classes = np.array(detail.polygons, object), np.array(detail.classes, np.uint8)
        draw_outlines(marks, polygons, classes, scale=scale / times, origin=origin)
        outlined = painted(large, marks, class_palette(self._image.data_set))
        return DetailPictures(detail.title, plain, outlined, self._caption(detail))

    def _caption(self, detail: Detail) -> str:
        names, mpp = self._image.data_set.class_names, self._image.model_mpp
        numbers = np.bincount(detail.classes, minlength=len(names)) if detail.classes else np.zeros(len(names), int)
        counts = ", ".join(f"{n} {name}" for name, n in zip(names, numbers.tolist(), strict=True) if n)
        scale = self._image.run.image.scale
        size = f"{detail.width * mpp:.0f} x {detail.height * mpp:.0f} µm"
        return f"{size} at x {detail.x * scale:,.0f}, y {detail.y * scale:,.0f} px; {counts or 'no nuclei'}"


def _chosen(image: PredictedImage, density: Density) -> list[Detail]:
    """Places of most nuclei, of all and then of each class in order of its count; none shows much of what another one shows."""
    totals = density.counts.sum(axis=(1, 2))
    names = image.data_set.class_names
    candidates = [("Most nuclei", density.counts.sum(axis=0), 1)]
    for number in np.argsort(-totals, kind="stable") + 1:
        candidates.append((f"Most of class {names[number]}", density.counts[number - 1], _LEAST_NUCLEI))
    found: list[Detail] = []
    for title, counts, least in candidates[:_MOST]:
        found += _first_other(title, _centres(counts, density, least), found, image)
    return found


def _centres(counts: Int64[np.ndarray, "gh gw"], density: Density, least: int) -> Float64[np.ndarray, "k 2"]:
    """Centres of the cells with most nuclei in px of level 0, most first."""
    order = np.argsort(-counts, axis=None, kind="stable")[:_TRIED]
    rows, columns = np.unravel_index(order[counts.ravel()[order] >= least], counts.shape)
    return (np.column_stack([columns, rows]) + 0.5) * density.cell_px + density.origin


def _first_other(
    title: str, centres: Float64[np.ndarray, "k 2"], found: list[Detail], image: PredictedImage
) -> list[Detail]:
    """The first detail that is not shown already; empty if there is none."""
    details = (_around(centre / image.run.image.scale, title, image) for centre in centres)
    return list(islice((one for one in details if not any(_overlap(one, other) for other in found)), 1))


def _around(centre: Float64[np.ndarray, " 2"], title: str, image: PredictedImage) -> Detail:
    side = max(1, round(_SIDE_UM / image.model_mpp))
    width, height = min(side, image.pixels.width), min(side, image.pixels.height)
    x, y = np.clip(
        np.rint(centre - (width / 2, height / 2)), 0, (image.pixels.width - width, image.pixels.height - height)
    )
    return Detail(title, int(x), int(y), width, height)


def _overlap(one: Detail, other: Detail) -> bool:
    """True if another detail shows much of this one."""
    shared = (one.width - abs(one.x - other.x)) * (one.height - abs(one.y - other.y))
    return (
        abs(one.x - other.x) < one.width
        and abs(one.y - other.y) < one.height
        and shared > _SHARED * one.width * one.height
    )
