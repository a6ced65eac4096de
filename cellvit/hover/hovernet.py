"""NP and HV maps -> nuclei by HoVer-Net's published post-processing (method `hovernet`)."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, UInt8
from skimage.segmentation import watershed

from cellvit.hover.limits import check_limits
from cellvit.hover.relabel import Labels, relabel

Energy = Float32[np.ndarray, "h w"]
"""How much each pixel looks like a border between nuclei, 0..1."""

Pieces = Int32[np.ndarray, "h w"]
"""Number of the 4-connected piece of the nuclear mask that a pixel is in, 0 outside; numbers may have gaps."""

Basins = Float64[np.ndarray, "h w"]
"""Landscape to flood."""

_LARGEST_SOBEL_PX: Final = 31
"""OpenCV computes Sobel kernels up to this size."""

_SMOOTHING_PX: Final = 3
"""Side of the Gaussian that smooths the flooded landscape (HoVer-Net's program)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HoverNetWatershed:
    """Parameters of HoVer-Net's watershed; the defaults are the published ones.

    Attributes:
        np_threshold: Nuclear probability, 0..1, from which a pixel is nuclear. Higher: fewer and smaller nuclei.
        hv_threshold: Border energy, 0..1 after scaling to the tile's range, from which a nuclear pixel is no marker.
            Lower: smaller markers, more of touching nuclei apart and more small nuclei lost.
        min_object_px: Area in pixels under which a connected piece of the nuclear mask is dropped.
        min_marker_px: Area in pixels under which a marker is dropped, and with it the nucleus it would seed.
        sobel_px: Side of the Sobel kernel in pixels, odd, 3 to 31. Larger: smoother, fewer false borders in noisy
            maps, weaker borders between small nuclei.
        opening_px: Diameter in pixels of the ellipse that opens the markers; 1 leaves them as they are. Larger: cuts
            wider bridges between markers and drops smaller ones.

    Raises:
        SettingsError: A parameter is out of its limits.
    """

    np_threshold: float = 0.5
    hv_threshold: float = 0.4
    min_object_px: int = 10
    min_marker_px: int = 10
    sobel_px: int = 21
    opening_px: int = 5

    def __post_init__(self) -> None:
        limits = {
            "np_threshold": (0 <= self.np_threshold <= 1, "from 0 to 1"),
            "hv_threshold": (0 <= self.hv_threshold <= 1, "from 0 to 1"),
            "min_object_px": (self.min_object_px >= 0, "0 or more"),
            "min_marker_px": (self.min_marker_px >= 0, "0 or more"),
            "sobel_px": (
                3 <= self.sobel_px <= _LARGEST_SOBEL_PX and self.sobel_px % 2 == 1,
                f"odd, from 3 to {_LARGEST_SOBEL_PX}",
            ),
            "opening_px": (self.opening_px >= 1, "1 or more"),
        }
        check_limits(self, limits)


def hovernet_decoder(
    np_prob: Float32[np.ndarray, "h w"], hv: Float32[np.ndarray, "2 h w"]
) -> Callable[[HoverNetWatershed], Labels]:
    """What `hovernet` finds on a tile, as a function of the parameters; what they have in common is computed once.

    Inside the nuclear mask, pixels where the horizontal and vertical maps rise smoothly seed a watershed, which meets
    where the maps jump from one nucleus to the next. A mask piece without a seed is dropped; where HV is constant
    over the tile there is no seed, and so no nucleus.

    References:
        Graham et al., HoVer-Net, Medical Image Analysis 2019, arXiv 1812.06499, section III-B, and its program, whose
        label maps these are.
    """

    @cache
    def energy(sobel_px: int) -> Energy:  # names: jaxtyping would make the types anew with every tile
        return border_energy(hv, sobel_px)

    @cache
    def mask(threshold: float, min_px: int) -> Pieces:
        return _large_pieces(np_prob >= threshold, min_px)

    @cache
    def landscape(sobel_px: int, threshold: float, min_px: int) -> Basins:
        return _landscape(energy(sobel_px), mask(threshold, min_px) > 0)

    def decode(chosen: HoverNetWatershed) -> Labels:
        pieces = mask(chosen.np_threshold, chosen.min_object_px)
        markers = _markers(energy(chosen.sobel_px), pieces > 0, chosen)
        basins = landscape(chosen.sobel_px, chosen.np_threshold, chosen.min_object_px)
        return relabel(flood(basins, markers, pieces))

    return decode


def border_energy(hv: Float32[np.ndarray, "2 h w"], sobel_px: int) -> Float32[np.ndarray, "h w"]:
    """How much each pixel looks like the border between two nuclei, in 0..1.

    Along a nucleus both maps rise from -1 to 1; from one nucleus to the next they fall back. The energy is high
    where the derivative of either map along its own axis is low against the rest of the tile.
    """
    horizontal, vertical = (_unit_range(plane) for plane in hv)
    across = 1 - _unit_range(cv2.Sobel(horizontal, cv2.CV_64F, 1, 0, ksize=sobel_px))
    along = 1 - _unit_range(cv2.Sobel(vertical, cv2.CV_64F, 0, 1, ksize=sobel_px))
    energy: Float32[np.ndarray, "h w"] = np.maximum(across, along)
    return energy


def flood(
    basins: Float64[np.ndarray, "h w"], markers: Int32[np.ndarray, "h w"], pieces: Int32[np.ndarray, "h w"]
) -> Int32[np.ndarray, "h w"]:
    """What `skimage.segmentation.watershed` gives on the mask `pieces > 0`, flooding no more of it than it must.

    A piece that holds one marker's pixels is that marker's, and one without is nobody's. Only pieces with several
    markers are flooded. That changes nothing there: the queue's order within a piece depends on other pieces only
    where pixels of different markers stand at exactly one height, and then everything is flooded.
    """
    nuclear = np.flatnonzero(pieces > 0)
    piece, marker = pieces.reshape(-1)[nuclear], markers.reshape(-1)[nuclear]
    seeds = np.flatnonzero(marker)
    owner = np.zeros(int(piece.max(initial=0)) + 1, np.int32)
    owner[piece[seeds]] = marker[seeds]
    shared = np.zeros(len(owner), bool)
    shared[piece[seeds[marker[seeds] != owner[piece[seeds]]]]] = True

    labels = np.zeros(pieces.size, np.int32)
    labels[nuclear] = owner[piece]
    contested = shared[piece]
    rivals = seeds[contested[seeds]]
    if _level(basins.reshape(-1)[nuclear[rivals]], marker[rivals]):
        contested[:] = True
    flooded = np.zeros(pieces.shape, bool)
    flooded.reshape(-1)[nuclear[contested]] = True
    if contested.any():
        labels[nuclear[contested]] = watershed(basins, markers=markers, mask=flooded)[flooded]
    return labels.reshape(pieces.shape)


def _level(heights: Float64[np.ndarray, " m"], marker: Int32[np.ndarray, " m"]) -> bool:
    """Whether pixels of different markers stand at exactly one height."""
    order = heights.argsort()
    same = heights[order][1:] == heights[order][:-1]
    return bool((same & (marker[order][1:] != marker[order][:-1])).any())


def _unit_range(plane: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Scale to 0..1 by smallest and largest value; a constant plane becomes 0."""
    scaled: Float32[np.ndarray, "h w"] = cv2.normalize(plane, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)
    return scaled


def _large_pieces(mask: Bool[np.ndarray, "h w"], min_px: int) -> Int32[np.ndarray, "h w"]:
    """Label the 4-connected pieces of a mask and clear those under `min_px` pixels; labels may have gaps."""
    n_labels, pieces = cv2.connectedComponentsWithAlgorithm(mask.view(np.uint8), 4, cv2.CV_32S, cv2.CCL_SAUF)
    labels: Int32[np.ndarray, "h w"] = pieces
    inside = np.flatnonzero(mask)
    piece = labels.reshape(-1)[inside]
    small = np.bincount(piece, minlength=n_labels) < min_px
    labels.reshape(-1)[inside[small[piece]]] = 0
    return labels


def _filled(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """The mask with its holes: background that no path of side-by-side pixels joins to the border."""
    framed = np.pad(mask, 1)
    cv2.floodFill(framed, None, (0, 0), 2)  # what lies outside becomes 2
    filled: UInt8[np.ndarray, "h w"] = (framed[1:-1, 1:-1] != 2).astype(np.uint8)
    return filled


def _landscape(energy: Float32[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    """Basins to flood: lowest where a nuclear pixel is least like a border, 0 outside the mask."""
    depth = np.subtract(1.0, energy, dtype=np.float64)
    depth *= mask
    basins: Float64[np.ndarray, "h w"] = cv2.GaussianBlur(depth, (_SMOOTHING_PX, _SMOOTHING_PX), 0)
    basins *= -1
    return basins


def _markers(
    energy: Float32[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], chosen: HoverNetWatershed
) -> Int32[np.ndarray, "h w"]:
    """Inner parts of nuclei, one label each."""
    inner = _filled((mask & (energy < chosen.hv_threshold)).view(np.uint8))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (chosen.opening_px, chosen.opening_px))
    return _large_pieces(cv2.morphologyEx(inner, cv2.MORPH_OPEN, ellipse) > 0, chosen.min_marker_px)
