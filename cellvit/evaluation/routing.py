"""Organ probabilities -> the family that decodes a tile, and how well that went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from cellvit.formats.documents import Value, Values
from cellvit.formats.tiles import Groups
from cellvit.metrics.classification import accuracy_majority, confusion, expected_calibration_error
from cellvit.metrics.intervals import Interval, bootstrap_mean, bootstrap_organ_mean
from cellvit.taxonomy import ORGANS


@dataclass(frozen=True, slots=True)
class Routes:
    """Where the tiles of a set go.

    Attributes:
        family: Family whose decoder each tile goes to; empty for a tile whose organ belongs to no family.
        right: Whether that is the tile's own family; None where that has no decoder: the tile could not get there.
        left_out: Tiles that go nowhere, by reason.
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
    """Send each tile to a family of `trained`, those that have a decoder, by its organ probabilities."""
    own = {organ: family for family, members in families.items() for organ in members}
    predicted = routed_families(probabilities, {family: families[family] for family in families if family in trained})
    sent = tuple(family if organ in own else "" for family, organ in zip(predicted, organs, strict=True))
    right = tuple(
        family == own[organ] if own.get(organ) in trained else None for family, organ in zip(sent, organs, strict=True)
    )
    homeless = sent.count("")
    return Routes(sent, right, {"their organ belongs to no family": homeless} if homeless else {})


def routed_families(probabilities: Float[np.ndarray, "n 19"], families: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Family of each tile: the greatest sum of the probabilities of its organs, the first of equal ones.

    Args:
        probabilities: Of each organ, in the order of `cellvit.taxonomy.ORGANS`.
        families: Organs of the families that have a decoder, at least one; no tile goes to any other.

    Examples:
        >>> probabilities = np.zeros((1, 19))
        >>> probabilities[0, [3, 5, 6]] = 0.4, 0.3, 0.3
        >>> routed_families(probabilities, {"breast": ["Breast"], "gut": ["Colon", "Esophagus"]})
        ('gut',)
    """
    assert families, "no family has a decoder"
    names = tuple(families)
    sums = np.stack([probabilities[:, [ORGANS.index(o) for o in families[name]]].sum(axis=1) for name in names])
    return tuple(names[place] for place in sums.argmax(axis=0))


def organ_values(
    probabilities: Float[np.ndarray, "n 19"], organs: Sequence[str], *, seed: int, groups: Groups
) -> Values:
    """How well OrganHead does on tiles of known organ.

    Args:
        groups: What intervals draw: the group of each tile.

    Returns accuracy, accuracy_majority (always the most frequent organ), balanced_accuracy and calibration_error (no
    interval).
    """
    truth = organ_numbers(organs)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    counts = confusion(truth, probabilities.argmax(axis=1), len(ORGANS))
    return {
        "accuracy": _figure(bootstrap_mean(right, rng=np.random.default_rng(seed), groups=groups)),
        "accuracy_majority": Value(value=accuracy_majority(counts), n=len(truth)),
        "balanced_accuracy": _figure(
            bootstrap_organ_mean(right, truth, rng=np.random.default_rng(seed), groups=groups)
        ),
        "calibration_error": Value(value=expected_calibration_error(probabilities, truth), n=len(truth)),
    }


def routing_accuracy(routes: Routes, *, seed: int, groups: Groups) -> Value:
    """Share of tiles that went to their own family, among those whose family has a decoder."""
    right = np.array(routes.right, np.float64)  # None becomes NaN, which is left out
    return _figure(bootstrap_mean(right, rng=np.random.default_rng(seed), groups=groups))


def organ_confusion(
    probabilities: Float[np.ndarray, "n 19"], organs: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Names of the organs that are there or predicted, and tiles by true (rows) and predicted (columns) organ."""
    counts = confusion(organ_numbers(organs), probabilities.argmax(axis=1), len(ORGANS))
    seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    rows = counts[np.ix_(seen, seen)].tolist()
    return tuple(ORGANS[number] for number in seen), tuple(tuple(row) for row in rows)


def organ_numbers(organs: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Number of each organ in `cellvit.taxonomy.ORGANS`."""
    return np.array([ORGANS.index(organ) for organ in organs], np.int64)


def in_organ_order(probabilities: Float[np.ndarray, "n k"], names: Sequence[str]) -> Float64[np.ndarray, "n 19"]:
    """Columns of a head that answers with the organs `names`, in the order of all organs; 0 for the others."""
    wide = np.zeros((len(probabilities), len(ORGANS)))
    wide[:, organ_numbers(names)] = probabilities
    return wide


def _figure(interval: Interval) -> Value:
    return Value(**interval._asdict())
