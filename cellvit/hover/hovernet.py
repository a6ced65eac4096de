"""NP and HV maps -> nuclei by HoVer-Net's published post-processing (method `hovernet`).

References:
    Graham et al., HoVer-Net, Medical Image Analysis 2019, arXiv 1812.06499, section III-B, and its program, whose
    label maps these are.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32
from skimage.segmentation import watershed

from cellvit.hover.parameters import HoverNetWatershed
from cellvit.hover.relabel import Labels, relabel

Energy = Float32[np.ndarray, "h w"]
"""How much each pixel looks like a border between nuclei, 0..1."""

Pieces = Int32[np.ndarray, "h w"]
"""Number of the 4-connected piece of the nuclear mask at each pixel, 0 outside; numbers may have gaps."""

Basins = Float64[np.ndarray, "h w"]
"""Heights of the landscape that is flooded, -1..0."""

_SMOOTHING_PX: Final = 3
"""Side of the Gaussian kernel that smooths the flooded landscape (HoVer-Net's program)."""


def hovernet_decoder(
    np_prob: Float32[np.ndarray, "h w"], hv: Float32[np.ndarray, "2 h w"]
) -> Callable[[HoverNetWatershed], Labels]:
    """Decoder of one tile as a function of the parameters; steps that several sets of parameters share run once.

    1. Threshold the NP map; drop small connected pieces of this nuclear mask.
    2. Compute the border energy from the Sobel derivatives of the HV maps.
    3. Nuclear pixels of low energy, with holes filled and opened morphologically, are the markers.
    4. Flood the smoothed, inverted energy from the markers, inside the nuclear mask.

    A piece of the mask without a marker is dropped. If HV is constant over the tile, there is no marker and no nucleus.
    """

    # The types are aliases: jaxtyping would build them again for every tile.
    @cache
    def energy(sobel_px: int) -> Energy:
        return _border_energy(hv, sobel_px)

    @cache
    def mask(threshold: float, min_px: int) -> Pieces:
        return _large_pieces(np_prob >= threshold, min_px)

    @cache
    def landscape(sobel_px: int, threshold: float, min_px: int) -> Basins:
        """Basins to flood: lowest at nuclear pixels that look least like a border, 0 outside the mask."""
        depth = np.subtract(1.0, energy(sobel_px), dtype=np.float64)
        depth *= mask(threshold, min_px) > 0
        basins: Basins = cv2.GaussianBlur(depth, (_SMOOTHING_PX, _SMOOTHING_PX), 0)
        basins *= -1
        return basins

    def decode(chosen: HoverNetWatershed) -> Labels:
        pieces = mask(chosen.np_threshold, chosen.min_object_px)  # step 1
        markers = _markers(energy(chosen.sobel_px), pieces > 0, chosen)  # steps 2 and 3
        basins = landscape(chosen.sobel_px, chosen.np_threshold, chosen.min_object_px)
        return relabel(flood(basins, markers, pieces))  # step 4; the numbers of the markers have gaps

    return decode


def flood(
    basins: Float64[np.ndarray, "h w"], markers: Int32[np.ndarray, "h w"], pieces: Int32[np.ndarray, "h w"]
) -> Int32[np.ndarray, "h w"]:
    """Labels of `skimage.segmentation.watershed` on the mask `pieces > 0`, by flooding only the pieces that need it.

    Only pieces with several markers are flooded. The result is the same: a flood stays inside its piece, and the order
    of its queue depends on other pieces only if pixels of different markers have exactly the same height. In that case
    the whole mask is flooded.
    """
    # Give each piece the marker of one of its pixels, 0 if it has none.
    nuclear = np.flatnonzero(pieces > 0)
    piece, marker = pieces.reshape(-1)[nuclear], markers.reshape(-1)[nuclear]
    seeds = np.flatnonzero(marker)
    owner = np.zeros(int(piece.max(initial=0)) + 1, np.int32)
    owner[piece[seeds]] = marker[seeds]
    labels = np.zeros(pieces.size, np.int32)
    labels[nuclear] = owner[piece]

    # A piece is contested if another of its pixels has another marker.
    shared = np.zeros(len(owner), bool)
    shared[piece[seeds[marker[seeds] != owner[piece[seeds]]]]] = True
    contested = shared[piece]
    rivals = seeds[contested[seeds]]
    if _level(basins.reshape(-1)[nuclear[rivals]], marker[rivals]):
        contested[:] = True

    # Flood the contested pieces and overwrite their labels.
    flooded = np.zeros(pieces.shape, bool)
    flooded.reshape(-1)[nuclear[contested]] = True
    if contested.any():
        labels[nuclear[contested]] = watershed(basins, markers=markers, mask=flooded)[flooded]
    return labels.reshape(pieces.shape)


def _border_energy(hv: Float32[np.ndarray, "2 h w"], sobel_px: int) -> Float32[np.ndarray, "h w"]:
    """How much each pixel looks like the border between two nuclei, 0..1 (equation 5 of the paper).

    Along a nucleus both maps rise from -1 to 1; from one nucleus to the next they fall back. The energy is high
    where the derivative of either map along its own axis is low in comparison with the rest of the tile.
    """
    # Maps and derivatives are scaled to their range in the tile: a constant factor in HV changes nothing.
    horizontal, vertical = (_unit_range(plane) for plane in hv)
    across = 1 - _unit_range(cv2.Sobel(horizontal, cv2.CV_64F, 1, 0, ksize=sobel_px))
    along = 1 - _unit_range(cv2.Sobel(vertical, cv2.CV_64F, 0, 1, ksize=sobel_px))
    energy: Float32[np.ndarray, "h w"] = np.maximum(across, along)
    return energy


def _level(heights: Float64[np.ndarray, " m"], marker: Int32[np.ndarray, " m"]) -> bool:
    """Whether pixels of different markers have exactly the same height."""
    order = heights.argsort()
    same = heights[order][1:] == heights[order][:-1]
    return bool((same & (marker[order][1:] != marker[order][:-1])).any())


def _unit_range(plane: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Scale to 0..1 by the smallest and the largest value; a constant plane becomes 0."""
    scaled: Float32[np.ndarray, "h w"] = cv2.normalize(plane, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)
    return scaled


def _large_pieces(mask: Bool[np.ndarray, "h w"], min_px: int) -> Int32[np.ndarray, "h w"]:
    """Label the 4-connected pieces of a mask and clear those below `min_px` pixels; labels may have gaps."""
    n_labels, pieces = cv2.connectedComponentsWithAlgorithm(mask.view(np.uint8), 4, cv2.CV_32S, cv2.CCL_SAUF)
    labels: Int32[np.ndarray, "h w"] = pieces
    inside = np.flatnonzero(mask)
    piece = labels.reshape(-1)[inside]
    small = np.bincount(piece, minlength=n_labels) < min_px
    labels.reshape(-1)[inside[small[piece]]] = 0
    return labels


def _markers(
    energy: Float32[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], chosen: HoverNetWatershed
) -> Int32[np.ndarray, "h w"]:
    """Inner parts of nuclei, one label each."""
    # Fill holes: background that is not 4-connected to the border of the tile.
    framed = np.pad((mask & (energy < chosen.hv_threshold)).view(np.uint8), 1)
    cv2.floodFill(framed, None, (0, 0), 2)  # the outside becomes 2
    inner = (framed[1:-1, 1:-1] != 2).astype(np.uint8)
    # The opening removes thin bridges between the inner parts of neighbouring nuclei, and specks.
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (chosen.opening_px, chosen.opening_px))
    return _large_pieces(cv2.morphologyEx(inner, cv2.MORPH_OPEN, ellipse) > 0, chosen.min_marker_px)
