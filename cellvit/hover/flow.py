"""HV maps -> nuclei by following the maps to the centres they point to (method `hv_flow`)."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from cellvit.hover.limits import check_limits
from cellvit.hover.relabel import Labels

_WALK_DOUBLINGS: Final = 8
"""The pointer map is doubled this often: walks of 256 steps, longer than any nucleus at 0.25 um per pixel."""

_DIAGONAL: Final = 0.5
"""A step is diagonal where the smaller component is over this part of the larger: directions of 26.6 to 63.4 degrees."""

_PIXEL_VARIANCE: Final = 1 / 12
"""Variance of positions within one pixel; without it a nucleus one pixel wide would have no extent."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HvFlow:
    """Parameters of `hv_flow`; docs/decoding.md says what was measured.

    Attributes:
        np_threshold: Nuclear probability, 0..1, from which a pixel is nuclear. Higher: fewer and smaller nuclei.
        min_gain_px: What a cut between two neighbours must explain of the HV maps, in pixels of a perfectly mapped
            nucleus; with less, they are one. Larger: fewer cuts, more of touching nuclei in one; 0 or more.
        min_object_px: Area in pixels under which a nucleus goes to the neighbour that fits best, or is dropped where
            it has none.
        min_fit: Least fit of a nucleus against that of its tile, 0..1; under it, it is dropped. Fit is what nuclei
            explain of the HV maps, a pixel. Larger: more is dropped that NP marks and HV does not confirm; 0 keeps all.
        window_px: Side in pixels of the square over which the maps' mean is taken off before they are followed, odd,
            about a nucleus's diameter. Smaller: more and smaller pieces to choose cuts from, and more time.

    Raises:
        SettingsError: A parameter is out of its limits.
    """

    np_threshold: float = 0.5
    min_gain_px: float = 5.0
    min_object_px: int = 10
    min_fit: float = 0.5
    window_px: int = 25

    def __post_init__(self) -> None:
        limits = {
            "np_threshold": (0 <= self.np_threshold <= 1, "from 0 to 1"),
            "min_gain_px": (self.min_gain_px >= 0, "0 or more"),
            "min_object_px": (self.min_object_px >= 0, "0 or more"),
            "min_fit": (0 <= self.min_fit <= 1, "from 0 to 1"),
            "window_px": (self.window_px >= 3 and self.window_px % 2 == 1, "odd, 3 or more"),
        }
        check_limits(self, limits)


class _Pixels(NamedTuple):
    """Nuclear pixels of a tile, in a frame one pixel wide so that no neighbour lies outside.

    Attributes:
        tile: Where they lie in the tile, counted row by row.
        frame: Where they lie in the framed tile, likewise.
        place: For each pixel of the framed tile its place among the nuclear ones, -1 for background.
        width: Columns of the framed tile.
        hv: Horizontal and vertical distance, as the decoder gave them.
    """

    tile: Int64[np.ndarray, " p"]
    frame: Int64[np.ndarray, " p"]
    place: Int32[np.ndarray, " f"]
    width: int
    hv: Float32[np.ndarray, "2 p"]


class _Pieces(NamedTuple):
    """A division of the nuclear pixels, with all that decides which pieces are one nucleus.

    Attributes:
        piece: Piece of each nuclear pixel.
        sums: One column a piece, additive: pixels; sums of x, y, x * x, y * y, h, v, h * x, v * y.
        one: For each pair of pieces that share an edge of a pixel, the one ...
        other: ... and the other, of greater number.
    """

    piece: Int64[np.ndarray, " p"]
    sums: Float64[np.ndarray, "9 n"]
    one: Int64[np.ndarray, " e"]
    other: Int64[np.ndarray, " e"]


class _Nuclei(NamedTuple):
    """Pieces that have been joined.

    Attributes:
        nucleus: Nucleus of each nuclear pixel.
        sums: One column a nucleus, as those of `_Pieces`.
    """

    nucleus: Int64[np.ndarray, " p"]
    sums: Float64[np.ndarray, "9 n"]


def flow_decoder(np_prob: Float32[np.ndarray, "h w"], hv: Float32[np.ndarray, "2 h w"]) -> Callable[[HvFlow], Labels]:
    """What `hv_flow` finds on a tile, as a function of the parameters; what they have in common is computed once.

    1. Every nuclear pixel points to the neighbour that its HV vector comes from, one of eight, after the local mean
       of the maps is taken off, so that two nuclei whose maps have run into one ramp still have two centres.
    2. The pointer map is doubled until it says where each walk ends. Walks that end in one blob are one piece. There
       are at least as many pieces as nuclei: more where a map is noisy, or flat around a centre.
    3. Neighbours are joined, best pair first, unless the cut between them explains the maps. Over a nucleus,
       horizontal HV rises with x and vertical HV with y; what a piece explains is
       ``n cov(h, x) / std(x) + n cov(v, y) / std(y)``, one a pixel for a perfect disc. It is the part of the squared
       distance between the maps and those of the piece encoded (`cellvit.hover.encode`, with twice the standard
       deviation for the reach) that depends on the division. A cut stays where the two explain `min_gain_px` more
       than their union.
    4. What is under `min_object_px` goes to the neighbour with which it explains most, or nowhere.
    5. Nuclei that explain little, a pixel, beside the others of the tile are dropped: there NP alone speaks. The
       measure is relative, since decoders predict shorter vectors the less sure they are.

    Following vectors to sinks is the idea of Cellpose (Stringer et al. 2021, Nature Methods 18), whose vectors are
    trained for it; pointer doubling is list ranking (Wyllie 1979).
    """

    @cache
    def pixels(np_threshold: float) -> _Pixels:
        return _nuclear_pixels(np_prob >= np_threshold, hv)

    @cache
    def pieces(np_threshold: float, window_px: int) -> _Pieces:
        return _follow(pixels(np_threshold), hv, window_px)

    @cache
    def joined(np_threshold: float, window_px: int, min_gain_px: float, min_object_px: int) -> _Nuclei:
        return _join(pieces(np_threshold, window_px), min_gain_px, min_object_px)

    def decode(chosen: HvFlow) -> Labels:  # a name: jaxtyping would make the type anew with every tile
        nuclei = joined(chosen.np_threshold, chosen.window_px, chosen.min_gain_px, chosen.min_object_px)
        kept = (nuclei.sums[0] >= chosen.min_object_px) & _fits(nuclei.sums, chosen.min_fit)
        label = np.where(kept, kept.cumsum(), 0).astype(np.int32)
        labels = np.zeros(np_prob.size, np.int32)
        labels[pixels(chosen.np_threshold).tile] = label[nuclei.nucleus]
        return labels.reshape(np_prob.shape)

    return decode


def _nuclear_pixels(mask: Bool[np.ndarray, "h w"], hv: Float32[np.ndarray, "2 h w"]) -> _Pixels:
    height, width = mask.shape
    tile = np.flatnonzero(mask)
    frame = tile + 2 * (tile // width) + width + 3
    place = np.full((height + 2) * (width + 2), -1, np.int32)
    place[frame] = np.arange(len(frame), dtype=np.int32)
    return _Pixels(tile, frame, place, width + 2, hv.reshape(2, -1)[:, tile])


def _follow(pixels: _Pixels, hv: Float32[np.ndarray, "2 h w"], window_px: int) -> _Pieces:
    end = _pointers(pixels, pixels.hv - _local_mean(pixels, hv, window_px))
    for _ in range(_WALK_DOUBLINGS):
        end = end[end]
    ends = np.zeros(len(pixels.place), np.uint8)
    ends[pixels.frame[end]] = 1
    n_blobs, blobs = cv2.connectedComponents(ends.reshape(-1, pixels.width), connectivity=8)
    piece = blobs.ravel()[pixels.frame[end]].astype(np.int64) - 1
    return _Pieces(piece, _sums(pixels, piece, n_blobs - 1), *_neighbours(pixels, piece, n_blobs - 1))


def _local_mean(pixels: _Pixels, hv: Float32[np.ndarray, "2 h w"], window_px: int) -> Float32[np.ndarray, "2 p"]:
    """Mean of the maps over the nuclear pixels of the window around each nuclear pixel."""
    inside = np.zeros(hv.shape[1:], np.float32)
    inside.reshape(-1)[pixels.tile] = 1
    side = (window_px, window_px)
    sums = [
        cv2.boxFilter(plane, cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_CONSTANT).reshape(-1)[pixels.tile]
        for plane in (*(hv * inside), inside)
    ]
    mean: Float32[np.ndarray, "2 p"] = np.stack(sums[:2]) / sums[2]
    return mean


def _pointers(pixels: _Pixels, hv: Float32[np.ndarray, "2 p"]) -> Int64[np.ndarray, " p"]:
    """For each nuclear pixel the neighbour towards its centre; itself where the maps vanish or the mask ends there."""
    least = _DIAGONAL * np.abs(hv).max(axis=0)
    right, down = ((plane < -least).astype(np.int64) - (plane > least) for plane in hv)
    towards: Int64[np.ndarray, " p"] = pixels.place[pixels.frame + right + down * pixels.width].astype(np.int64)
    astray = np.flatnonzero(towards < 0)
    towards[astray] = _detours(pixels, hv[:, astray], astray)
    return towards


def _detours(
    pixels: _Pixels, hv: Float32[np.ndarray, "2 a"], astray: Int64[np.ndarray, " a"]
) -> Int64[np.ndarray, " a"]:
    """For pixels whose neighbour is background: the nuclear one along an axis, the larger component's first."""
    step = -np.sign(hv).astype(np.int64) * np.array([[1], [pixels.width]])  # (2, a): along x, along y
    larger = np.abs(hv).argmax(axis=0)
    towards = astray.copy()
    for axis in (1 - larger, larger):  # the larger comes last and so wins
        neighbour = pixels.place[pixels.frame[astray] + step[axis, np.arange(len(astray))]]
        towards = np.where(neighbour >= 0, neighbour, towards)
    return towards


def _sums(pixels: _Pixels, piece: Int64[np.ndarray, " p"], n_pieces: int) -> Float64[np.ndarray, "9 n"]:
    y = pixels.frame // pixels.width
    x = pixels.frame - y * pixels.width
    h, v = pixels.hv
    terms = (None, x, y, x * x, y * y, h, v, h * x, v * y)
    return np.stack([np.bincount(piece, term, n_pieces) for term in terms])


def _neighbours(
    pixels: _Pixels, piece: Int64[np.ndarray, " p"], n_pieces: int
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Pairs of pieces with pixels side by side or one above the other."""
    firsts, seconds = [], []
    for step in (1, pixels.width):
        beyond = pixels.place[pixels.frame + step]
        first = np.flatnonzero(beyond >= 0)
        firsts.append(piece[first])
        seconds.append(piece[beyond[first]])
    return _distinct(np.concatenate(firsts), np.concatenate(seconds), n_pieces)


def _distinct(
    first: Int64[np.ndarray, " k"], second: Int64[np.ndarray, " k"], n_pieces: int
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Each pair of different pieces once, the smaller number first, in order."""
    apart = first != second
    first, second = first[apart], second[apart]
    pairs = np.unique(np.minimum(first, second) * n_pieces + np.maximum(first, second))
    return pairs // max(n_pieces, 1), pairs % max(n_pieces, 1)


def _join(start: _Pieces, min_gain_px: float, min_object_px: int) -> _Nuclei:
    """Join neighbours, best pairs first, until every cut that is left explains enough and no piece is too small."""
    sums, one, other = start.sums, start.one, start.other
    nucleus = np.arange(sums.shape[1])
    while len(one):
        explained = _explained(sums)
        gain = _explained(sums[:, one] + sums[:, other]) - explained[one] - explained[other]
        small = np.minimum(sums[0, one], sums[0, other]) < min_object_px
        allowed = small | (gain > -min_gain_px)
        if not allowed.any():
            break
        best = _mutually_best(one[allowed], other[allowed], gain[allowed], sums.shape[1])
        joined = _joined(one[allowed][best], other[allowed][best], sums.shape[1])
        n_joined = int(joined.max()) + 1
        sums = np.stack([np.bincount(joined, term, n_joined) for term in sums])
        nucleus = joined[nucleus]
        one, other = _distinct(joined[one], joined[other], n_joined)
    return _Nuclei(nucleus[start.piece], sums)


def _mutually_best(
    one: Int64[np.ndarray, " k"], other: Int64[np.ndarray, " k"], gain: Float64[np.ndarray, " k"], n_pieces: int
) -> Bool[np.ndarray, " k"]:
    """Whether both sides of a pair have no better one; there is always a pair of which that holds."""
    best = np.full(n_pieces, -np.inf)
    np.maximum.at(best, one, gain)
    np.maximum.at(best, other, gain)
    mutual: Bool[np.ndarray, " k"] = (gain >= best[one]) & (gain >= best[other])
    return mutual


def _joined(one: Int64[np.ndarray, " k"], other: Int64[np.ndarray, " k"], n_pieces: int) -> Int64[np.ndarray, " n"]:
    """New number of each piece when `other` joins `one`, which has the smaller number; numbers have no gaps.

    Where gains are equal, a piece may stand in two pairs: it joins one of them, and the other pair waits.
    """
    root = np.arange(n_pieces)
    root[other] = one
    while not np.array_equal(up := root[root], root):
        root = up
    number = (root == np.arange(n_pieces)).cumsum() - 1
    joined: Int64[np.ndarray, " n"] = number[root]
    return joined


def _explained(sums: Float64[np.ndarray, "9 n"]) -> Float64[np.ndarray, " n"]:
    """What each piece explains of the maps as one nucleus, in pixels of a perfect disc (see `flow_decoder`)."""
    area_px, x, y, xx, yy, h, v, hx, vy = sums
    spread_x = np.sqrt(np.maximum(xx / area_px - (x / area_px) ** 2, 0) + _PIXEL_VARIANCE)
    spread_y = np.sqrt(np.maximum(yy / area_px - (y / area_px) ** 2, 0) + _PIXEL_VARIANCE)
    explained: Float64[np.ndarray, " n"] = (hx - h * x / area_px) / spread_x + (vy - v * y / area_px) / spread_y
    return explained


def _fits(sums: Float64[np.ndarray, "9 n"], min_fit: float) -> Bool[np.ndarray, " n"]:
    """Whether each nucleus explains, a pixel, at least `min_fit` of what all of the tile do."""
    explained, area_px = _explained(sums), sums[0]
    mean = max(float(explained.sum()), 0.0) / max(float(area_px.sum()), 1.0)
    fits: Bool[np.ndarray, " n"] = (explained >= min_fit * mean * area_px) | (min_fit == 0)
    return fits
