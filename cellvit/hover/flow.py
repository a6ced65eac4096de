"""HV maps -> nuclei by following the maps to the centres that they point to (method `hv_flow`).

Following vectors to sinks is the idea of Cellpose (Stringer et al., Nature Methods 18, 2021), whose vectors are
trained for this purpose. Doubling the pointers is list ranking (Wyllie, 1979).
"""

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from cellvit.hover.parameters import HvFlow
from cellvit.hover.relabel import Labels

_WALK_DOUBLINGS: Final = 8
"""The pointers are doubled this often: walks of 256 steps, longer than any nucleus at 0.25 um per pixel."""

_DIAGONAL: Final = 0.5
"""A step is diagonal if the smaller component exceeds this fraction of the larger: 26.6 to 63.4 degrees."""

_PIXEL_VARIANCE: Final = 1 / 12
"""Variance of the positions within one pixel; without it, a nucleus one pixel wide would have no extent."""


class _Pixels(NamedTuple):
    """Nuclear pixels of a tile that is padded by one pixel, so that every neighbour is inside the padded tile.

    Attributes:
        tile: Row-major index of each nuclear pixel in the tile.
        frame: Row-major index of each nuclear pixel in the padded tile.
        place: For each pixel of the padded tile its index among the nuclear pixels, -1 for background.
        width: Columns of the padded tile.
        hv: Horizontal and vertical distance as predicted, about -1..1.
    """

    tile: Int64[np.ndarray, " p"]
    frame: Int64[np.ndarray, " p"]
    place: Int32[np.ndarray, " f"]
    width: int
    hv: Float32[np.ndarray, "2 p"]


class _Pieces(NamedTuple):
    """A partition of the nuclear pixels, with everything that decides which pieces form one nucleus.

    Attributes:
        piece: Piece of each nuclear pixel.
        sums: One column per piece, additive: number of pixels; sums of x, y, x * x, y * y, h, v, h * x, v * y.
        one: The piece with the smaller number of each pair of pieces that share a pixel edge.
        other: The piece with the larger number of each pair.
    """

    piece: Int64[np.ndarray, " p"]
    sums: Float64[np.ndarray, "9 n"]
    one: Int64[np.ndarray, " e"]
    other: Int64[np.ndarray, " e"]


def flow_decoder(np_prob: Float32[np.ndarray, "h w"], hv: Float32[np.ndarray, "2 h w"]) -> Callable[[HvFlow], Labels]:
    """Decoder of one tile as a function of the parameters; steps that several sets of parameters share run once.

    1. Every nuclear pixel points to the one of its eight neighbours that is in the direction of its centre. The local
       mean of the maps is subtracted first, so that two nuclei whose maps form one common ramp still have two centres.
    2. The pointers are doubled until each shows where its walk ends. Walks that end in the same connected spot form
       one piece. A nucleus has one piece or more (more where the maps are noisy, or flat around the centre).
    3. Neighbouring pieces are joined, best pair first, unless the cut between them explains the maps. Inside a
       nucleus, horizontal HV rises with x and vertical HV with y. A piece explains
       ``n cov(h, x) / std(x) + n cov(v, y) / std(y)``, which is one per pixel for a perfect disc. This is the part of
       the squared distance between the maps and the encoded piece (`cellvit.hover.encode`, with twice the standard
       deviation as its reach) that depends on the partition. A cut stays if its two sides explain at least
       `min_gain_px` more than their union.
    4. A piece below `min_object_px` is joined to the neighbour with which it explains most, or dropped.
    5. Nuclei that explain little per pixel in comparison with the whole tile are dropped: they are in the NP map
       only. The comparison is relative because an uncertain decoder predicts shorter vectors everywhere.
    """

    @cache
    def pixels(np_threshold: float) -> _Pixels:
        return _nuclear_pixels(np_prob >= np_threshold, hv)

    @cache
    def pieces(np_threshold: float, window_px: int) -> _Pieces:
        return _follow(pixels(np_threshold), hv, window_px)

    @cache
    def joined(np_threshold: float, window_px: int, min_gain_px: float, min_object_px: int) -> _Pieces:
        return _join(pieces(np_threshold, window_px), min_gain_px, min_object_px)

    def decode(chosen: HvFlow) -> Labels:  # `Labels` is an alias: jaxtyping would build the type again for every tile
        nuclei = joined(chosen.np_threshold, chosen.window_px, chosen.min_gain_px, chosen.min_object_px)  # steps 1 to 4
        # Step 4 (isolated pieces) and step 5: drop nuclei, and number the others without gaps.
        accepted = (nuclei.sums[0] >= chosen.min_object_px) & _fits(nuclei.sums, chosen.min_fit)
        label = np.where(accepted, accepted.cumsum(), 0).astype(np.int32)
        labels = np.zeros(np_prob.size, np.int32)
        labels[pixels(chosen.np_threshold).tile] = label[nuclei.piece]
        return labels.reshape(np_prob.shape)

    return decode


def _nuclear_pixels(mask: Bool[np.ndarray, "h w"], hv: Float32[np.ndarray, "2 h w"]) -> _Pixels:
    height, width = mask.shape
    tile = np.flatnonzero(mask)
    frame = tile + 2 * (tile // width) + width + 3  # one padded row above, and two padding pixels per row
    place = np.full((height + 2) * (width + 2), -1, np.int32)
    place[frame] = np.arange(len(frame), dtype=np.int32)
    return _Pixels(tile, frame, place, width + 2, hv.reshape(2, -1)[:, tile])


def _follow(pixels: _Pixels, hv: Float32[np.ndarray, "2 h w"], window_px: int) -> _Pieces:
    # Step 1: each pixel points to its neighbour towards the centre.
    end = _pointers(pixels, pixels.hv - _local_mean(pixels, hv, window_px))
    # Step 2: after k doublings, each pointer is the end of a walk of 2^k steps.
    for _ in range(_WALK_DOUBLINGS):
        end = end[end]
    # Ends that touch, also diagonally, belong to one centre: where pointers form a loop, walks end all along it.
    ends = np.zeros(len(pixels.place), np.uint8)
    ends[pixels.frame[end]] = 1
    n_spots, spots = cv2.connectedComponents(ends.reshape(-1, pixels.width), connectivity=8)
    piece = spots.ravel()[pixels.frame[end]].astype(np.int64) - 1
    return _Pieces(piece, _sums(pixels, piece, n_spots - 1), *_neighbours(pixels, piece, n_spots - 1))


def _local_mean(pixels: _Pixels, hv: Float32[np.ndarray, "2 h w"], window_px: int) -> Float32[np.ndarray, "2 p"]:
    """Mean of the maps over the nuclear pixels of the window around each nuclear pixel."""
    inside = np.zeros(hv.shape[1:], np.float32)
    inside.reshape(-1)[pixels.tile] = 1
    side = (window_px, window_px)
    sums = [
        cv2.boxFilter(plane, cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_CONSTANT).reshape(-1)[pixels.tile]
        for plane in (*(hv * inside), inside)
    ]
    mean: Float32[np.ndarray, "2 p"] = np.stack(sums[:2]) / sums[2]  # the third sum counts the nuclear pixels
    return mean


def _pointers(pixels: _Pixels, hv: Float32[np.ndarray, "2 p"]) -> Int64[np.ndarray, " p"]:
    """For each nuclear pixel its neighbour towards the centre; itself if the maps are 0 or that way leaves the mask."""
    # The vector points away from the centre, so the step has the opposite sign of each component that is large enough.
    least = _DIAGONAL * np.abs(hv).max(axis=0)
    right, down = ((plane < -least).astype(np.int64) - (plane > least) for plane in hv)
    towards: Int64[np.ndarray, " p"] = pixels.place[pixels.frame + right + down * pixels.width].astype(np.int64)
    # Where that neighbour is background, walk along the edge of the mask instead.
    astray = np.flatnonzero(towards < 0)
    towards[astray] = _detours(pixels, hv[:, astray], astray)
    return towards


def _detours(
    pixels: _Pixels, hv: Float32[np.ndarray, "2 a"], astray: Int64[np.ndarray, " a"]
) -> Int64[np.ndarray, " a"]:
    """For pixels whose neighbour is background: the nuclear neighbour along the larger component, else the smaller."""
    step = -np.sign(hv).astype(np.int64) * np.array([[1], [pixels.width]])  # (2, a): along x, along y
    larger = np.abs(hv).argmax(axis=0)
    towards = astray.copy()
    for axis in (1 - larger, larger):  # the larger component comes last and overwrites the smaller one
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
    for step in (1, pixels.width):  # to the right, down
        beyond = pixels.place[pixels.frame + step]
        first = np.flatnonzero(beyond >= 0)
        firsts.append(piece[first])
        seconds.append(piece[beyond[first]])
    return _distinct(np.concatenate(firsts), np.concatenate(seconds), n_pieces)


def _distinct(
    first: Int64[np.ndarray, " k"], second: Int64[np.ndarray, " k"], n_pieces: int
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Each pair of different pieces once, the smaller number first, in ascending order."""
    apart = first != second
    first, second = first[apart], second[apart]
    pairs = np.unique(np.minimum(first, second) * n_pieces + np.maximum(first, second))
    return pairs // max(n_pieces, 1), pairs % max(n_pieces, 1)


def _join(start: _Pieces, min_gain_px: float, min_object_px: int) -> _Pieces:
    """Nuclei: neighbours joined until every remaining cut explains enough and no piece with a neighbour is too small."""
    sums, one, other = start.sums, start.one, start.other
    nucleus = np.arange(sums.shape[1])
    while len(one):
        # Step 3: what each pair would explain more (or, if negative, less) as one nucleus than as two.
        explained = _explained(sums)
        gain = _explained(sums[:, one] + sums[:, other]) - explained[one] - explained[other]
        # Step 4: a piece that is too small is joined whatever its cut explains.
        small = np.minimum(sums[0, one], sums[0, other]) < min_object_px
        allowed = small | (gain > -min_gain_px)
        if not allowed.any():
            break
        # All pairs that are the best choice of both sides are joined at once; without ties, they share no piece.
        best = _mutually_best(one[allowed], other[allowed], gain[allowed], sums.shape[1])
        joined = _joined(one[allowed][best], other[allowed][best], sums.shape[1])
        # The sums add up, so the joined pieces are measured without another look at the pixels.
        n_joined = int(joined.max()) + 1
        sums = np.stack([np.bincount(joined, term, n_joined) for term in sums])
        nucleus = joined[nucleus]
        one, other = _distinct(joined[one], joined[other], n_joined)
    return _Pieces(nucleus[start.piece], sums, one, other)


def _mutually_best(
    one: Int64[np.ndarray, " k"], other: Int64[np.ndarray, " k"], gain: Float64[np.ndarray, " k"], n_pieces: int
) -> Bool[np.ndarray, " k"]:
    """Whether neither side of a pair has a better pair; at least one pair fulfils this."""
    best = np.full(n_pieces, -np.inf)
    np.maximum.at(best, one, gain)
    np.maximum.at(best, other, gain)
    mutual: Bool[np.ndarray, " k"] = (gain >= best[one]) & (gain >= best[other])
    return mutual


def _joined(one: Int64[np.ndarray, " k"], other: Int64[np.ndarray, " k"], n_pieces: int) -> Int64[np.ndarray, " n"]:
    """New number of each piece, without gaps, after `other` joins `one`, which has the smaller number.

    If gains are equal, a piece may be in two pairs: it joins one of them, and the other pair waits for the next round.
    """
    root = np.arange(n_pieces)
    root[other] = one
    while not np.array_equal(up := root[root], root):  # chains of joins: follow them to the smallest number
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
    """Whether each nucleus explains, per pixel, at least the fraction `min_fit` of what the whole tile explains."""
    explained, area_px = _explained(sums), sums[0]
    mean = max(float(explained.sum()), 0.0) / max(float(area_px.sum()), 1.0)
    fits: Bool[np.ndarray, " n"] = (explained >= min_fit * mean * area_px) | (min_fit == 0)
    return fits
