"""The classical baseline: nuclei from the hematoxylin channel, without training.

References:
    Ruifrok and Johnston, Quantification of histochemical staining by color deconvolution, 2001.
    Otsu, A threshold selection method from gray-level histograms, 1979.
"""

import math
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt8
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import disk
from skimage.segmentation import watershed

from cellvit.hover.parameters import Classical
from cellvit.hover.relabel import Labels, relabel

Density = Float64[np.ndarray, "h w"]
Distance = Float32[np.ndarray, "h w"]
Mask = Bool[np.ndarray, "h w"]


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

    @cache
    def opened(smoothing_px: float, otsu_factor: float, opening_px: int) -> Mask:
        dense = density(smoothing_px) > otsu_factor * otsu(smoothing_px)
        element = disk(opening_px)
        # Beyond the border of the tile is background, so that a nucleus at the border shrinks there too.
        shrunk = cv2.erode(dense.view(np.uint8), element, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        grown: Mask = cv2.dilate(shrunk, element).astype(bool)
        return grown

    @cache
    def depth(smoothing_px: float, otsu_factor: float, opening_px: int, min_object_px: int) -> tuple[Mask, Distance]:
        mask = _without_small(opened(smoothing_px, otsu_factor, opening_px), min_object_px)
        mask = ~_without_small(~mask, min_object_px)
        to_edge = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return mask, gaussian(to_edge, smoothing_px)

    def decode(chosen: Classical) -> Labels:
        mask, distance = depth(chosen.smoothing_px, chosen.otsu_factor, chosen.opening_px, chosen.min_object_px)
        return relabel(watershed(-distance, _seeds(distance, mask, chosen.min_distance_px), mask=mask))

    return decode


def _without_small(mask: Mask, min_px: int) -> Mask:
    pieces = _pieces(mask)
    large: Mask = mask & (np.bincount(pieces.ravel()) >= min_px)[pieces]
    return large


def _pieces(mask: Mask) -> Int32[np.ndarray, "h w"]:
    """A label for each piece that is connected over the sides of pixels."""
    pieces: Int32[np.ndarray, "h w"] = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)[1]
    return pieces


def _seeds(distance: Distance, mask: Mask, min_distance_px: int) -> Int32[np.ndarray, "h w"]:
    """One label at each peak of the distance to the edge; every piece of the mask has at least one.

    A peak is the largest value of its piece in the square window around it. Of equal peaks in one window (a plateau) the
    first in reading order is taken.
    """
    pieces = _pieces(mask)
    seeds = np.zeros(mask.shape, np.int32)
    window = np.ones((2 * min_distance_px + 1,) * 2, np.uint8)
    n_seeds = 0
    for label, box in enumerate(ndimage.find_objects(pieces), start=1):
        # 1. Peaks of the piece alone: what lies in the window but in another piece decides nothing.
        own = np.where(pieces[box] == label, distance[box], -1)
        peaks = np.argwhere((own >= 0) & (own == cv2.dilate(own, window)))
        # 2. One peak of each plateau: a peak marks its window, and the later ones in it are left out.
        taken = np.zeros(own.shape, bool)
        for y, x in peaks:
            if not taken[y, x]:
                n_seeds += 1
                seeds[box][y, x] = n_seeds
                taken[
                    max(0, y - min_distance_px) : y + min_distance_px + 1,
                    max(0, x - min_distance_px) : x + min_distance_px + 1,
                ] = True
    return seeds
