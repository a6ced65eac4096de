"""An open image at the resolution of the models: which part of it is analysed, and in which tiles."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from cellvit.data.slides.area import Area, region, regions_of, whole
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.opening import open_slide
from cellvit.data.slides.slide import Slide
from cellvit.data.slides.tissue import tissue_of
from cellvit.formats.dataset import DataSet
from cellvit.prediction.chunks import Plan, chunk_side
from cellvit.prediction.grid import tile_grid
from cellvit.prediction.request import Request

_WHOLE_PX: Final = 5_000
"""Images with no side longer than this are analysed whole where the settings leave the choice: they are fields that somebody
selected, while slides are mostly glass (decision)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedImage:
    """An image that is open for reading, and what is predicted of it.

    Attributes:
        key: Of its request (`cellvit.prediction.request.request_key`).
        pixels: The image at the resolution of the models.
        is_whole: True if the area is the whole image.
    """

    request: Request
    key: str
    slide: Slide
    pixels: ModelPixels
    area: Area
    is_whole: bool
    plan: Plan


@contextmanager
def opened_image(request: Request, data_set: DataSet, *, key: str) -> Iterator[OpenedImage]:
    """Open an image for models of a data set, and close it at the end of the block.

    Raises:
        CellvitError: The file cannot be read, its resolution is not known, or the region lies outside of it.
    """
    with closing(open_slide(request.path, mpp=request.settings.mpp)) as slide:
        pixels = ModelPixels(slide, data_set.mpp)
        is_whole = not (request.region or request.regions) and _analyses_whole(request.settings.area, slide)
        area = _area(request, slide, is_whole=is_whole)
        grid = tile_grid(pixels.width, pixels.height, overlap_px=request.settings.overlap_px)
        meets = area.meets(grid.core_boxes.reshape(-1, 4) * pixels.scale).reshape(grid.shape)
        active = np.ones(grid.shape, bool) if is_whole else meets
        plan = Plan(grid, active, chunk_side(data_set.n_classes))
        yield OpenedImage(request=request, key=key, slide=slide, pixels=pixels, area=area, is_whole=is_whole, plan=plan)


def _analyses_whole(area: str, slide: Slide) -> bool:
    return area == "whole" or (area == "auto" and max(slide.width, slide.height) <= _WHOLE_PX)


def _area(request: Request, slide: Slide, *, is_whole: bool) -> Area:
    if request.region:
        return region(slide, request.region)
    if request.regions:
        return regions_of(request.regions, slide)
    return whole(slide) if is_whole else tissue_of(slide)
