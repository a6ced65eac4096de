"""Candidates of overlapping windows -> the nuclei of the image: none twice, none cut, none lost, and no two that overlap.

The same nucleus is a candidate of every window near whose core it lies. The rules, of which each looks only at candidates of
other windows that overlap (all others are nuclei as they are):

1. Two complete candidates (that no window border cuts) are the same nucleus if they share more than half of the smaller one. The
   better one is accepted: first those whose centroid lies in the core of their window, then those nearer to the centre of
   their window. This repeats `ROUNDS` times among those that are neither accepted nor the same as an accepted one.
2. A candidate that is not accepted, but of which more than half lies outside all accepted ones, is a nucleus too (as where
   one window joins two nuclei of which the other has one only), if the centre of what remains lies in it.
3. Cut candidates of which complete ones cover more than half are dropped. The others are pieces of nuclei that no window shows
   whole; those that share at least a quarter of the smaller one are united, over up to `LINKS` pieces.
4. What still overlaps is cut from the worse nucleus, of which the largest part stays; it is dropped if less than half is left.

The result for a window depends only on candidates within `REACH_WINDOWS` rows and columns of it. So an image can be
merged in parts, with the same nuclei whichever the parts are.
"""

from typing import Final

import numpy as np
import shapely
from jaxtyping import Bool, Float64, Int64

from cellvit.formats.nuclei import NucleiTable
from cellvit.prediction.outlines import Geometries, polygons_at
from cellvit.prediction.overlaps import Overlaps, connected, overlaps_of, touching_boxes
from cellvit.prediction.reshaping import reshaped

REACH_WINDOWS: Final = 16
"""Candidates in so many rows and columns around a window decide on its nuclei: one for each step from overlap to overlap."""

ROUNDS: Final = 3
"""Chains of more than six candidates that overlap by half one after the other do not occur at the borders of windows."""

LINKS: Final = 3
"""A nucleus of 5 x 5 windows (768 px, 0.2 mm) has its largest piece in the middle, two links from every other one."""

_SAME: Final = 0.5
"""Share of the smaller candidate from which two are the same nucleus; that of the matching of PQ for IoU."""

_LINKED: Final = 0.25
"""Share of the smaller piece from which two are united: windows that are diagonal neighbours share a quarter."""

_STEPS: Final = 2 * ROUNDS + 2 * LINKS + 3
"""From overlap to overlap: two for each round, as many as the links to the largest piece and back, three for the other rules."""


def resolved(own: NucleiTable, around: NucleiTable) -> NucleiTable:
    """Nuclei of the windows of `own`, in the order of row and column of the window, then y and x.

    Nuclei that are cut or united have new outlines and measurements of shape; they keep their class, probabilities and stains.

    Args:
        own: All candidates of some windows.
        around: All candidates of the windows in `REACH_WINDOWS` rows and columns around them; others do no harm.
    """
    if not len(own):
        return own
    table = NucleiTable.concatenated([own, around.at(_within_reach(around, own))])
    is_own = np.arange(len(table)) < len(own)
    one, other = touching_boxes(table)
    is_paired = np.zeros(len(table), bool)
    is_paired[one], is_paired[other] = True, True

    near = connected(is_own, one, other, steps=_STEPS) & is_paired
    number = np.cumsum(near) - 1
    kept = near[one] & near[other]
    decided = _decided(table.at(near), number[one[kept]], number[other[kept]], is_own[near])
    nuclei = NucleiTable.concatenated([table.at(is_own & ~is_paired), decided])
    return nuclei.at(np.lexsort((nuclei.x, nuclei.y, nuclei.column, nuclei.row)))


def _within_reach(around: NucleiTable, own: NucleiTable) -> Bool[np.ndarray, " n"]:
    within = np.ones(len(around), bool)
    for theirs, ours in ((around.row, own.row), (around.column, own.column)):
        within &= (theirs >= ours.min() - REACH_WINDOWS) & (theirs <= ours.max() + REACH_WINDOWS)
    return within


def _decided(
    table: NucleiTable,
    one: Int64[np.ndarray, " k"],
    other: Int64[np.ndarray, " k"],
    is_own: Bool[np.ndarray, " n"],
) -> NucleiTable:
    """Nuclei among candidates whose boxes touch those of other windows."""
    if not len(table):
        return table
    geometries = polygons_at(table.outlines, table.outlines.points)
    area = shapely.area(geometries)
    rank = _rank(table)
    overlaps = overlaps_of(geometries, one, other).ranked(rank)

    # Rule 1. What accepted nuclei cover of all others decides which of these are doubles.
    accepted = _accepted(overlaps, area, ~table.cut)
    behind = overlaps.ranked(_ranks(np.lexsort((rank, ~accepted))))
    behind = behind.where(accepted[behind.better] & ~accepted[behind.worse])
    covered = np.bincount(behind.worse, behind.shared, len(table))
    remaining = ~accepted & (2 * covered < area)

    # Rule 2. A remainder is worse than all accepted nuclei.
    found = geometries.copy()
    is_remainder = remaining & ~table.cut
    found[is_remainder] = _without(found, behind.where(is_remainder[behind.worse]), np.flatnonzero(is_remainder))
    rest = found[is_remainder]
    is_remainder[is_remainder] = shapely.contains(rest, shapely.centroid(rest)) & (
        2 * shapely.area(rest) > area[is_remainder]
    )

    # Rule 3. United pieces are worse than both.
    largest = _largest_pieces(table, overlaps, area, remaining & table.cut)
    is_largest = remaining & table.cut & (largest == np.arange(len(table)))
    for place in np.flatnonzero(is_largest & (np.bincount(largest, minlength=len(table)) > 1)):
        found[place] = shapely.union_all(geometries[largest == place], grid_size=1)

    # Rule 4.
    is_nucleus = accepted | is_remainder | is_largest
    final_rank = _ranks(np.lexsort((rank, is_largest, ~accepted)))
    final = Overlaps(largest[overlaps.better], largest[overlaps.worse], overlaps.shared).ranked(final_rank)
    final = final.where(is_nucleus[final.better] & is_nucleus[final.worse] & (final.better != final.worse))
    return _cut(table, found, is_nucleus & is_own, final, geometries)


def _rank(table: NucleiTable) -> Int64[np.ndarray, " n"]:
    """Rank of each candidate, 0 for the best: complete, owned, near the centre of its window; the position decides the rest."""
    keys = (table.column, table.row, table.x, table.y, table.centre_px, ~table.owned, table.cut)
    return _ranks(np.lexsort(keys))


def _ranks(order: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return ranks


def _accepted(
    overlaps: Overlaps, area: Float64[np.ndarray, " n"], complete: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Rule 1: complete candidates of which none is the same nucleus as another."""
    smaller = np.minimum(area[overlaps.better], area[overlaps.worse])
    same = overlaps.where((overlaps.shared > _SAME * smaller) & complete[overlaps.better] & complete[overlaps.worse])
    accepted, undecided = np.zeros(len(area), bool), complete.copy()
    for _ in range(ROUNDS):
        is_better = undecided.copy()
        is_better[same.worse[undecided[same.better]]] = False
        accepted |= is_better
        undecided[same.worse[is_better[same.better]]] = False
        undecided &= ~is_better
    accepted |= undecided
    return accepted


def _without(found: Geometries, overlaps: Overlaps, places: Int64[np.ndarray, " k"]) -> Geometries:
    """Largest part of what remains of these nuclei without the better ones of their pairs."""
    rests = []
    for place in places:
        better = shapely.union_all(found[overlaps.better[overlaps.worse == place]], grid_size=1)
        parts = shapely.get_parts(shapely.difference(found[place], better, grid_size=1))
        rests.append(parts[shapely.area(parts).argmax()] if len(parts) else shapely.Polygon())
    return np.array(rests, object)


def _largest_pieces(
    table: NucleiTable, overlaps: Overlaps, area: Float64[np.ndarray, " n"], is_piece: Bool[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """For each piece the position of the largest one with which it is united; for all other candidates their own."""
    order = np.lexsort((table.column, table.row, table.x, table.y, -area))
    rank = _ranks(order)
    smaller = np.minimum(area[overlaps.better], area[overlaps.worse])
    linked = overlaps.where(
        (overlaps.shared >= _LINKED * smaller) & is_piece[overlaps.better] & is_piece[overlaps.worse]
    )
    # Each piece points to the largest one that is linked with it, if that is larger; then pointers are followed.
    largest_linked = rank.copy()
    for one, other in ((linked.better, linked.worse), (linked.worse, linked.better)):
        np.minimum.at(largest_linked, one, rank[other])
    pointer = order[largest_linked]
    end = np.arange(len(area))
    for _ in range(LINKS):
        end = pointer[end]
    # Pieces that end at the same place are one nucleus, at its largest piece.
    first = np.full(len(area), len(area))
    np.minimum.at(first, end, rank)
    at_largest: Int64[np.ndarray, " n"] = order[first[end]]
    return at_largest


def _cut(
    table: NucleiTable,
    found: Geometries,
    chosen: Bool[np.ndarray, " n"],
    overlaps: Overlaps,
    before: Geometries,
) -> NucleiTable:
    """Rule 4: the chosen nuclei without what better ones cover of them."""
    places = np.unique(overlaps.worse[chosen[overlaps.worse]])
    whole = shapely.area(found[places])
    rests = _without(found, overlaps, places)
    chosen = chosen.copy()
    chosen[places] = 2 * shapely.area(rests) >= whole
    found = found.copy()
    found[places] = rests
    changed = np.array([one is not other for one, other in zip(found, before, strict=True)], bool)
    return NucleiTable.concatenated(
        [table.at(chosen & ~changed), reshaped(table.at(chosen & changed), found[chosen & changed])]
    )
