"""Nuclei with new outlines: their pixels, and everything that is measured from pixels and outlines."""

import dataclasses

import numpy as np
import shapely
from jaxtyping import Int64

from cellvit.data.annotations.pixels import pixels_inside
from cellvit.formats.nuclei import NucleiTable
from cellvit.prediction.measurements import Pixels, contours, moments
from cellvit.prediction.outlines import Geometries, outlines_of


def reshaped(table: NucleiTable, geometries: Geometries) -> NucleiTable:
    """The nuclei with these outlines, in half pixels of the model; those that contain no centre of a pixel are left out."""
    parts = [_pixels(geometry) for geometry in geometries]
    filled = np.array([len(part) > 0 for part in parts], bool)
    if not filled.any():
        return table.at(filled)
    left = table.at(filled)
    each = [part for part in parts if len(part)]
    nucleus = np.repeat(np.arange(len(each)), [len(part) for part in each])
    shape = moments(Pixels(nucleus, *np.concatenate(each).T), len(each))
    outlines = outlines_of(geometries[filled])
    contour = contours(outlines, len(each))
    return dataclasses.replace(left, **shape._asdict(), **contour._asdict(), outlines=outlines)


def _pixels(geometry: shapely.Geometry) -> Int64[np.ndarray, "p 2"]:
    """Column and row of the pixels whose centres lie inside."""
    low, high = np.floor(np.reshape(shapely.bounds(geometry), (2, 2)) / 2).astype(np.int64)
    width, height = high - low + 1
    inside = pixels_inside(shapely.transform(geometry, lambda points: points / 2 - low), (int(height), int(width)))
    mask = np.zeros((height, width), bool)
    inside.paint(mask, True)
    y, x = np.nonzero(mask)
    pixels: Int64[np.ndarray, "p 2"] = np.stack([x, y], axis=1) + low
    return pixels
