"""The classical baseline: nuclei from the hematoxylin channel, without training.

References:
    Ruifrok and Johnston, Quantification of histochemical staining by color deconvolution, 2001.
    Otsu, A threshold selection method from gray-level histograms, 1979.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import disk
from skimage.segmentation import watershed

from cellvit.hover.parameters import Classical
from cellvit.hover.relabel import Labels, relabel

Density = Float64[np.ndarray, "h w"]


def segment_classical(
    image: UInt8[np.ndarray, "h w 3"],
    chosen: Classical | None = None,
    *,
    annotated: Bool[np.ndarray, "h w"] | None = None,
) -> Int32[np.ndarray, "h w"]:
    """Nuclei of one H&E tile at 0.25 um per pixel: labels 1..n without gaps, 0 is background.

    A threshold on the hematoxylin density (a multiple of Otsu's), then a watershed on the distance to the edge that
    separates touching nuclei.

    Args:
        image: RGB, 0..255.
        chosen: Parameters; None takes the defaults.
        annotated: False in pixels that are not annotated, which are taken for pixels without stain and decide no
            threshold: what the image shows there (ink, a fold of the tissue) changes nothing. None if all are annotated.
    """
    return classical_decoder(image, annotated=annotated)(chosen or Classical())


def classical_decoder(
    image: UInt8[np.ndarray, "h w 3"], *, annotated: Bool[np.ndarray, "h w"] | None = None
) -> Callable[[Classical], Labels]:
    """`segment_classical` of one tile as a function of the parameters; steps that several sets share run once."""
    counts = np.ones(image.shape[:2], bool) if annotated is None else annotated
    hematoxylin = np.where(counts, rgb2hed(image)[..., 0], 0)

    @cache
    def density(smoothing_px: float) -> Density:
        smoothed: Density = gaussian(hematoxylin, smoothing_px)
        return smoothed

    @cache
    def otsu(smoothing_px: float) -> float:
        decisive = density(smoothing_px)[counts]
        return float(threshold_otsu(decisive)) if decisive.size else math.inf

    def decode(chosen: Classical) -> Labels:
        smoothing_px = chosen.smoothing_px
        dense = density(smoothing_px) > chosen.otsu_factor * otsu(smoothing_px)
        opened = ndimage.binary_opening(dense, disk(chosen.opening_px))
        mask = ~_without_small(~_without_small(opened, chosen.min_object_px), chosen.min_object_px)
        distance = gaussian(ndimage.distance_transform_edt(mask), smoothing_px)
        return relabel(watershed(-distance, _seeds(distance, mask, chosen.min_distance_px), mask=mask))

    return decode


def _without_small(mask: Bool[np.ndarray, "h w"], min_px: int) -> Bool[np.ndarray, "h w"]:
    pieces, _ = ndimage.label(mask)
    large: Bool[np.ndarray, "h w"] = mask & (np.bincount(pieces.ravel()) >= min_px)[pieces]
    return large


def _seeds(
    distance: Float64[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], min_distance_px: int
) -> Int32[np.ndarray, "h w"]:
    """One label at each peak of the distance to the edge; every piece of the mask has at least one."""
    pieces, _ = ndimage.label(mask)
    peaks = peak_local_max(distance, min_distance=min_distance_px, labels=pieces, exclude_border=False)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return seeds
