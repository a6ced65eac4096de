"""Whether two programs give the same results on the same tiles, and if not, for which reason."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float64, Integer
from kernel_tiles import Case
from scipy import ndimage
from skimage.measure import label

from cellvit.hover.relabel import relabel
from cellvit.metrics import aji

TOLERANCE: Final = 1e-5
"""Largest difference between equal results: other projects add 1e-6 or 1e-8 to denominators and sum in float32."""


class Verdict(NamedTuple):
    """Outcome of a comparison.

    Attributes:
        holds: True if no difference is unexplained.
        text: Agreement or difference, in words.
    """

    holds: bool
    text: str


Check = Callable[[Sequence[Case], list[Any], list[Any]], Verdict]
"""Compares our results with those of another project, case by case."""


def same_numbers(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
    """Every number agrees; both are NaN where one is."""
    del cases
    first, second = np.array(ours, np.float64), np.array(theirs, np.float64)
    difference = np.where(np.isnan(first) & np.isnan(second), 0, np.abs(first - second))
    n_wrong = np.count_nonzero(~(difference <= TOLERANCE))  # in this form, a single NaN is wrong
    if n_wrong:
        text = f"**differs**: {n_wrong} of {difference.size} numbers, by up to {np.nanmax(difference):.2g}"
        return Verdict(False, text)
    return Verdict(True, f"equal to {difference.max():.0e}" if difference.any() else "equal")


def same_pairs(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
    """The same nuclei are paired on every tile."""
    wrong = [not np.array_equal(np.array(our), their) for our, their in zip(ours, theirs, strict=True)]
    if any(wrong):
        return Verdict(False, f"**differs**: pairs on {sum(wrong)} of {len(cases)} tiles")
    return Verdict(True, "pairs equal")


def same_labels(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
    """Label maps are equal pixel by pixel, after those of the other project are renumbered without gaps."""
    wrong = [not np.array_equal(our, relabel(their)) for our, their in zip(ours, theirs, strict=True)]
    if any(wrong):
        return Verdict(False, f"**differs**: label maps of {sum(wrong)} of {len(cases)} tiles")
    return Verdict(True, "labels equal")


def other_definition(difference: str) -> Check:
    """The other project computes something else; the difference is reported and is not a failure."""

    def check(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
        differences = np.abs(np.array(ours) - np.array(theirs))
        n = np.count_nonzero(differences > TOLERANCE)
        result = f"{n} of {len(cases)} tiles differ, by up to {differences.max():.2g}" if n else "equal here"
        return Verdict(True, f"{difference}: {result}")

    return check


def other_nuclei(difference: str) -> Check:
    """The other project separates nuclei by another rule; the similarity is reported and is not a failure."""

    def check(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
        del cases
        similarity = [aji(our, their) for our, their in zip(ours, theirs, strict=True)]
        return Verdict(True, f"{difference}: median AJI between the two results {np.median(similarity):.3f}")

    return check


def explained_hv(*, splits: bool) -> Check:
    """Ours are those of the exact centre of mass; those of the other project are those of a rounded centre.

    Other projects round the centre to a pixel and count pixels from 1, so that their centre is 0.5 to 1.5 px up and
    left; with that centre, the same formula must give their maps. Nuclei that the other project leaves at zero are
    counted.

    Args:
        splits: The other project makes every connected piece a nucleus of its own.
    """

    def check(cases: Sequence[Case], ours: list[Any], theirs: list[Any]) -> Verdict:
        n_nuclei = n_zero = n_wrong = 0
        largest = 0.0
        for case, our, their in zip(cases, ours, theirs, strict=True):
            truth = case.true.instances
            n_wrong += int(np.count_nonzero(_largest(our, plain_hv(truth, rounded=False), truth) > TOLERANCE))
            nuclei = label(truth, background=0, connectivity=1) if splits else truth
            expected = plain_hv(nuclei, rounded=True)
            zero = (_largest(their, np.zeros_like(their), nuclei) == 0) & (_largest(expected, 0 * expected, nuclei) > 0)
            n_wrong += int(np.count_nonzero((_largest(their, expected, nuclei) > TOLERANCE) & ~zero))
            n_nuclei, n_zero = n_nuclei + len(zero), n_zero + int(zero.sum())
            largest = max(largest, float(_largest(their, our, nuclei)[~zero].max(initial=0)))
        if n_wrong:
            return Verdict(False, f"**differs**: {n_wrong} of {n_nuclei} nuclei are not explained by the centre")
        text = f"differs by the rounded centre alone, by up to {largest:.2f}"
        return Verdict(True, text + f"; {n_zero} of {n_nuclei} nuclei left at zero" * bool(n_zero))

    return check


def plain_hv(instances: Integer[np.ndarray, "h w"], *, rounded: bool) -> Float64[np.ndarray, "2 h w"]:
    """HV maps nucleus by nucleus: each side of the centre is divided by its own largest distance.

    Args:
        rounded: Use the centre of the other projects.
    """
    hv = np.zeros((2, *instances.shape))
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        inside = instances[box] == number
        for plane, places in zip(hv[::-1], np.nonzero(inside), strict=True):
            centre = np.floor(places.mean() + 0.5) - 1 if rounded else places.mean()
            distance = places - centre
            for side in (distance < 0, distance > 0):
                distance[side] /= np.abs(distance[side]).max(initial=0)
            plane[box][inside] = distance
    return hv


def _largest(
    first: Float64[np.ndarray, "2 h w"], second: Float64[np.ndarray, "2 h w"], nuclei: Integer[np.ndarray, "h w"]
) -> Float64[np.ndarray, " n"]:
    """Largest difference in each nucleus."""
    difference = np.abs(first - second).max(axis=0)
    return np.asarray(ndimage.maximum(difference, nuclei, np.arange(1, nuclei.max() + 1)))
