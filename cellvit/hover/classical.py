"""The classical baseline: nuclei from the hematoxylin channel, without training.

References:
    Ruifrok and Johnston, Quantification of histochemical staining by color deconvolution, 2001.
    Otsu, A threshold selection method from gray-level histograms, 1979.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import disk
from skimage.segmentation import watershed

from cellvit.hover.relabel import relabel


def segment_classical(
    image: UInt8[np.ndarray, "h w 3"],
    *,
    smoothing_px: float = 1.0,
    opening_px: int = 2,
    min_object_px: int = 30,
    min_distance_px: int = 5,
) -> Int32[np.ndarray, "h w"]:
    """Nuclei of one H&E tile at 0.25 um per pixel: labels 1..n without gaps, 0 is background.

    Otsu's threshold on the hematoxylin density, then a watershed on the distance to the edge that separates touching
    nuclei. The defaults are common choices for 40x; they were not tuned on test tiles.

    Args:
        image: RGB, 0..255.
        smoothing_px: Standard deviation of the Gaussian filter of the density and of the distance.
        opening_px: Radius of the disc of the morphological opening, which removes threads and specks from the mask.
        min_object_px: Smaller pieces of the mask are dropped, and smaller holes are filled; area in pixels.
        min_distance_px: Smallest distance between two seeds, about half the diameter of the smallest nucleus.
    """
    density = gaussian(rgb2hed(image)[..., 0], smoothing_px)
    opened = ndimage.binary_opening(density > threshold_otsu(density), disk(opening_px))
    mask = ~_without_small(~_without_small(opened, min_object_px), min_object_px)
    distance = gaussian(ndimage.distance_transform_edt(mask), smoothing_px)
    return relabel(watershed(-distance, _seeds(distance, mask, min_distance_px), mask=mask))


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
