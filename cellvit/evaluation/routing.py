"""Organ probabilities of OrganHead -> its metrics, and the family whose decoder is used for each tile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from cellvit.evaluation.values import value_of
from cellvit.formats.documents import Value, Values
from cellvit.formats.tiles import Groups
from cellvit.metrics.classification import accuracy_majority, confusion, expected_calibration_error
from cellvit.metrics.intervals import interval_of_mean, interval_of_organ_mean
from cellvit.taxonomy import ORGANS


@dataclass(frozen=True, slots=True)
class Routes:
    """The family that is chosen for each tile.

    Attributes:
        family: Family whose decoder is used; empty for a tile whose organ belongs to no family.
        right: Whether that is the tile's own family; None if its own family has no decoder.
        left_out: Tiles without a family, by reason.
    """

    family: tuple[str, ...]
    right: tuple[bool | None, ...]
    left_out: dict[str, int]


def routes_of(
    probabilities: Float[np.ndarray, "n 19"],
    organs: Sequence[str],
    families: Mapping[str, Sequence[str]],
    trained: Sequence[str],
) -> Routes:
    """Choose a family of `trained`, those that have a decoder, for each tile by its organ probabilities."""
    own = {organ: family for family, members in families.items() for organ in members}
    predicted = predicted_families(probabilities, {name: families[name] for name in families if name in trained})
    chosen = tuple(family if organ in own else "" for family, organ in zip(predicted, organs, strict=True))
    right = tuple(
        family == own[organ] if own.get(organ) in trained else None
        for family, organ in zip(chosen, organs, strict=True)
    )
    without = chosen.count("")
    return Routes(chosen, right, {"their organ belongs to no family": without} if without else {})


def predicted_families(
    probabilities: Float[np.ndarray, "n 19"], families: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Family of each tile: that with the largest sum of the probabilities of its organs, the first of equal ones.

    Args:
        probabilities: Of each organ, in the order of `cellvit.taxonomy.ORGANS`.
        families: Organs of the families that have a decoder, at least one; no other family is chosen.

    Examples:
        >>> probabilities = np.zeros((1, 19))
        >>> probabilities[0, [3, 5, 6]] = 0.4, 0.3, 0.3
        >>> predicted_families(probabilities, {"breast": ["Breast"], "gut": ["Colon", "Esophagus"]})
        ('gut',)
    """
    assert families, "no family has a decoder"
    names = tuple(families)
    sums = np.stack([probabilities[:, organ_numbers(families[name])].sum(axis=1) for name in names])
    return tuple(names[place] for place in sums.argmax(axis=0))


def organ_values(probabilities: Float[np.ndarray, "n 19"], organs: Sequence[str], *, groups: Groups) -> Values:
    """Metrics of OrganHead on tiles of known organ.

    Args:
        groups: Group of each tile; intervals are over groups.

    Returns accuracy, accuracy_majority (always the most frequent organ), balanced_accuracy and calibration_error (no
    interval).
    """
    truth, predicted = organ_numbers(organs), probabilities.argmax(axis=1)
    right = (predicted == truth).astype(np.float64)
    majority = accuracy_majority(confusion(truth, predicted, len(ORGANS)))
    balanced = interval_of_organ_mean(right, truth, groups=groups)
    return {
        "accuracy": value_of(interval_of_mean(right, groups=groups)),
        "accuracy_majority": Value(value=majority, n=len(truth)),
        "balanced_accuracy": value_of(balanced),
        "calibration_error": Value(value=expected_calibration_error(probabilities, truth), n=len(truth)),
    }


def organ_recall(probabilities: Float[np.ndarray, "n 19"], organs: Sequence[str], *, groups: Groups) -> Values:
    """Share of the tiles of each organ that is predicted correctly; arguments are those of `organ_values`."""
    truth = organ_numbers(organs)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    return {
        ORGANS[number]: value_of(
            interval_of_mean(np.where(truth == number, right, np.nan), groups=groups)
        )  # tiles of NaN are left out
        for number in np.unique(truth)
    }


def routing_accuracy(routes: Routes, *, groups: Groups) -> Value:
    """Share of tiles that are decoded by their own family, among those whose own family has a decoder."""
    right = np.array(routes.right, np.float64)  # None becomes NaN, which is left out
    return value_of(interval_of_mean(right, groups=groups))


def organ_confusion(
    probabilities: Float[np.ndarray, "n 19"], organs: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Names of the organs that are true or predicted, and tiles by true (rows) and predicted (columns) organ."""
    counts = confusion(organ_numbers(organs), probabilities.argmax(axis=1), len(ORGANS))
    present = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    rows = counts[np.ix_(present, present)].tolist()
    return tuple(ORGANS[number] for number in present), tuple(tuple(row) for row in rows)


def organ_numbers(organs: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Number of each organ in `cellvit.taxonomy.ORGANS`."""
    return np.array([ORGANS.index(organ) for organ in organs], np.int64)


def in_organ_order(probabilities: Float[np.ndarray, "n k"], names: Sequence[str]) -> Float64[np.ndarray, "n 19"]:
    """Columns of a head with the outputs `names`, in the order of all organs; 0 for the others."""
    wide = np.zeros((len(probabilities), len(ORGANS)))
    wide[:, organ_numbers(names)] = probabilities
    return wide
