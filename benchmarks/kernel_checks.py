"""Whether two programs say the same of the same tiles, and if not, why."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Integer
from kernel_tiles import Case
from scipy import ndimage
from skimage.measure import label

from cellvit.hover.relabel import relabel
from cellvit.metrics import aji

TOLERANCE: Final = 1e-5
"""Largest difference that counts as none: peers add 1e-6 or 1e-8 to denominators and sum in float32."""


class Verdict(NamedTuple):
    """What a comparison of results found.

    Attributes:
        holds: Nothing is left unexplained.
        text: Agreement or difference, in words.
    """

    holds: bool
    text: str


Check = Callable[[Sequence[Case], list[Any], list[Any]], Verdict]
"""Compares our results with a peer's, case by case."""


def same_numbers(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
    """Every number agrees; both are NaN where one is."""
    del cases
    first, second = np.array(ours, np.float64), np.array(theirs, np.float64)
    apart = np.where(np.isnan(first) & np.isnan(second), 0, np.abs(first - second))
    n_wrong = np.count_nonzero(~(apart <= TOLERANCE))  # so written, one NaN alone is wrong
    if n_wrong:
        return Verdict(False, f"**differs**: {n_wrong} of {apart.size} numbers, by up to {np.nanmax(apart):.2g}")
    return Verdict(True, f"equal to {apart.max():.0e}" if apart.any() else "equal")


def other_definition(why: str) -> Check:
    """The peer computes something else; how far apart that is, is told and is no failure."""

    def check(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
        apart = np.abs(np.array(ours) - np.array(theirs))
        n_apart = np.count_nonzero(apart > TOLERANCE)
        result = f"{n_apart} of {len(cases)} tiles differ, by up to {apart.max():.2g}" if n_apart else "equal here"
        return Verdict(True, f"{why}: {result}")

    return check


def same_pairs(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
    """The same nuclei are paired on every tile."""
    wrong = [not np.array_equal(np.array(our), their) for our, their in zip(ours, theirs, strict=True)]
    if any(wrong):
        return Verdict(False, f"**differs**: pairs on {sum(wrong)} of {len(cases)} tiles")
    return Verdict(True, "pairs equal")


def same_labels(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
    """Label maps agree pixel for pixel, after the peer's are numbered without gaps."""
    wrong = [not np.array_equal(our, relabel(their)) for our, their in zip(ours, theirs, strict=True)]
    if any(wrong):
        return Verdict(False, f"**differs**: label maps of {sum(wrong)} of {len(cases)} tiles")
    return Verdict(True, "labels equal")


def other_nuclei(why: str) -> Check:
    """The peer separates nuclei by another rule; how alike the results are, is told and is no failure."""

    def check(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
        del cases
        alike = [aji(our, their) for our, their in zip(ours, theirs, strict=True)]
        return Verdict(True, f"{why}: AJI of one against the other {np.median(alike):.3f} in the median")

    return check


def same_nuclei(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
    """Label maps, classes and centroids agree, but for nuclei with a tie of votes, which are counted.

    Ours are (labels, classes, centroids (row, column)); theirs (labels, record by label, centroid (column, row)).
    """
    maps = same_labels(cases, [our[0] for our in ours], [their[0] for their in theirs])
    if not maps.holds:
        return maps
    n_nuclei = n_tied = n_without = n_wrong = 0
    for case, (labels, classes, at), (their_labels, records) in zip(cases, ours, theirs, strict=True):
        tied = _tied(labels, case.branches[..., 0].astype(np.int64))
        for place, name in enumerate(np.unique(their_labels)[1:]):
            n_nuclei += 1
            if name not in records:
                n_without += 1
                continue
            same_place = np.allclose(records[name]["centroid"][::-1], at[place], atol=1e-6)
            n_tied += bool(tied[place])
            n_wrong += not same_place or (records[name]["type"] != classes[place] and not tied[place])
    if n_wrong:
        return Verdict(False, f"**differs**: class or centroid of {n_wrong} of {n_nuclei} nuclei")
    parts = ["labels, classes, centroids equal"]
    parts += [f"classes tie in {n_tied} of {n_nuclei} nuclei"] * bool(n_tied)
    parts += [f"{n_without} of {n_nuclei} nuclei dropped for want of a contour"] * bool(n_without)
    return Verdict(True, "; ".join(parts))


def _tied(labels: Integer[np.ndarray, "h w"], pixel_class: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, " n"]:
    """Whether the two most frequent nuclear classes of a nucleus have as many pixels."""
    votes = np.zeros((int(labels.max()) + 1, 6), np.int64)
    np.add.at(votes, (labels, pixel_class), 1)
    second, first = np.sort(votes[1:, 1:], axis=1).T[-2:]
    tied: Bool[np.ndarray, " n"] = first == second
    return tied


def explained_hv(*, splits: bool) -> Check:
    """Ours are the definition's; a peer's are those of a rounded centre, wherever it has any.

    Ours are compared with the exact centre of mass. Peers round the centre to a pixel and count pixels from 1, so that
    theirs lies 0.5 to 1.5 px up and left; with that centre the same formula must give theirs. Nuclei that a peer
    leaves at zero are counted.

    Args:
        splits: The peer makes every connected piece a nucleus of its own.
    """

    def check(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
        n_nuclei = n_zero = n_wrong = 0
        apart = 0.0
        for case, our, their in zip(cases, ours, theirs, strict=True):
            truth = case.true.instances
            n_wrong += int(np.count_nonzero(_worst(our, plain_hv(truth, rounded=False), truth) > TOLERANCE))
            nuclei = label(truth, background=0, connectivity=1) if splits else truth
            expected = plain_hv(nuclei, rounded=True)
            zero = (_worst(their, np.zeros_like(their), nuclei) == 0) & (_worst(expected, 0 * expected, nuclei) > 0)
            n_wrong += int(np.count_nonzero((_worst(their, expected, nuclei) > TOLERANCE) & ~zero))
            n_nuclei, n_zero = n_nuclei + len(zero), n_zero + int(zero.sum())
            apart = max(apart, float(_worst(their, our, nuclei)[~zero].max(initial=0)))
        if n_wrong:
            return Verdict(False, f"**differs**: {n_wrong} of {n_nuclei} nuclei are not explained by the centre")
        text = f"apart by the rounded centre alone, up to {apart:.2f}"
        return Verdict(True, text + f"; {n_zero} of {n_nuclei} nuclei left at zero" * bool(n_zero))

    return check


def plain_hv(instances: Integer[np.ndarray, "h w"], *, rounded: bool) -> Float64[np.ndarray, "2 h w"]:
    """HV maps nucleus by nucleus: each side of the centre over its own reach; `rounded` takes the peers' centre."""
    hv = np.zeros((2, *instances.shape))
    for name, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        inside = instances[box] == name
        for plane, places in zip(hv[::-1], np.nonzero(inside), strict=True):
            centre = np.floor(places.mean() + 0.5) - 1 if rounded else places.mean()
            distance = places - centre
            for side in (distance < 0, distance > 0):
                distance[side] /= np.abs(distance[side]).max(initial=0)
            plane[box][inside] = distance
    return hv


def _worst(
    first: Float64[np.ndarray, "2 h w"], second: Float64[np.ndarray, "2 h w"], nuclei: Integer[np.ndarray, "h w"]
) -> Float64[np.ndarray, " n"]:
    """Largest difference in each nucleus."""
    apart = np.abs(first - second).max(axis=0)
    return np.asarray(ndimage.maximum(apart, nuclei, np.arange(1, nuclei.max() + 1)))
