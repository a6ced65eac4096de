"""Organ probabilities of OrganHead -> its metrics, and the decoder that is used for each tile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from cellvit.evaluation.values import value_of
from cellvit.formats.documents import Value, Values
from cellvit.formats.tiles import Groups
from cellvit.metrics.classification import accuracy_majority, confusion, expected_calibration_error
from cellvit.metrics.intervals import interval_of_mean, interval_of_organ_mean


@dataclass(frozen=True, slots=True)
class Routes:
    """The decoder that is chosen for each tile.

    Attributes:
        decoder: Family of the decoder; empty for a tile whose organ belongs to no family.
        right: Whether that is the decoder of the tile's true organ; None if that organ has no decoder.
        left_out: Tiles without a decoder, by reason.
    """

    decoder: tuple[str, ...]
    right: tuple[bool | None, ...]
    left_out: dict[str, int]


def routes_of(
    probabilities: Float[np.ndarray, "n k"],
    organs: Sequence[str],
    decoder_of: Mapping[str, str],
    *,
    names: Sequence[str],
) -> Routes:
    """Choose a decoder for each tile by its organ probabilities.

    Args:
        organs: True organ of each tile.
        decoder_of: Decoder of each organ of the families; empty for an organ without one.
        names: Organs of the data set, in the order of the probabilities.
    """
    organs_of: dict[str, list[str]] = {}
    for organ, name in decoder_of.items():
        organs_of.setdefault(name, []).append(organ)
    organs_of.pop("", None)
    predicted = predicted_decoders(probabilities, organs_of, names=names)
    chosen = tuple(name if organ in decoder_of else "" for name, organ in zip(predicted, organs, strict=True))
    right = tuple(
        name == decoder_of[organ] if decoder_of.get(organ) else None for name, organ in zip(chosen, organs, strict=True)
    )
    without = chosen.count("")
    return Routes(chosen, right, {"their organ belongs to no family": without} if without else {})


def predicted_decoders(
    probabilities: Float[np.ndarray, "n k"], organs_of: Mapping[str, Sequence[str]], *, names: Sequence[str]
) -> tuple[str, ...]:
    """Decoder of each tile: that with the largest sum of the probabilities of its organs, the first of equal ones.

    Args:
        probabilities: Of each organ, in the order of `names`.
        organs_of: Organs of each decoder; at least one decoder.

    Examples:
        >>> probabilities, names = np.array([[0.4, 0.3, 0.3]]), ("Breast", "Colon", "Esophagus")
        >>> predicted_decoders(probabilities, {"breast": ["Breast"], "gut": ["Colon", "Esophagus"]}, names=names)
        ('gut',)
    """
    assert organs_of, "no organ has a decoder"
    decoders = tuple(organs_of)
    numbers = (organ_numbers(organs_of[decoder], names) for decoder in decoders)
    sums = np.stack([probabilities[:, of_decoder].sum(axis=1) for of_decoder in numbers])
    return tuple(decoders[place] for place in sums.argmax(axis=0))


def organ_values(
    probabilities: Float[np.ndarray, "n k"], organs: Sequence[str], *, names: Sequence[str], groups: Groups
) -> Values:
    """Metrics of OrganHead on tiles of known organ.

    Args:
        names: Organs of the data set, in the order of the probabilities.
        groups: Group of each tile; intervals are over groups.

    Returns accuracy, accuracy_majority (always the most frequent organ), balanced_accuracy and calibration_error (no
    interval).
    """
    truth, predicted = organ_numbers(organs, names), probabilities.argmax(axis=1)
    right = (predicted == truth).astype(np.float64)
    majority = accuracy_majority(confusion(truth, predicted, len(names)))
    balanced = interval_of_organ_mean(right, truth, groups=groups)
    return {
        "accuracy": value_of(interval_of_mean(right, groups=groups)),
        "accuracy_majority": Value(value=majority, n=len(truth)),
        "balanced_accuracy": value_of(balanced),
        "calibration_error": Value(value=expected_calibration_error(probabilities, truth), n=len(truth)),
    }


def organ_recall(
    probabilities: Float[np.ndarray, "n k"], organs: Sequence[str], *, names: Sequence[str], groups: Groups
) -> Values:
    """Share of the tiles of each organ that is predicted correctly; arguments are those of `organ_values`."""
    truth = organ_numbers(organs, names)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    return {
        names[number]: value_of(
            interval_of_mean(np.where(truth == number, right, np.nan), groups=groups)
        )  # tiles of NaN are left out
        for number in np.unique(truth).tolist()
    }


def routing_accuracy(routes: Routes, *, groups: Groups) -> Value:
    """Share of tiles that are decoded by the decoder of their true organ, among those whose organ has one."""
    right = np.array(routes.right, np.float64)  # None becomes NaN, which is left out
    return value_of(interval_of_mean(right, groups=groups))


def organ_confusion(
    probabilities: Float[np.ndarray, "n k"], organs: Sequence[str], *, names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Names of the organs that are true or predicted, and tiles by true (rows) and predicted (columns) organ."""
    counts = confusion(organ_numbers(organs, names), probabilities.argmax(axis=1), len(names))
    present = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    rows = counts[np.ix_(present, present)].tolist()
    return tuple(names[number] for number in present.tolist()), tuple(tuple(row) for row in rows)


def organ_numbers(organs: Sequence[str], names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Place of each organ among `names`."""
    return np.array([names.index(organ) for organ in organs], np.int64)


def in_organ_order(
    probabilities: Float[np.ndarray, "n k"], outputs: Sequence[str], *, names: Sequence[str]
) -> Float64[np.ndarray, "n m"]:
    """Columns of a head with these `outputs`, in the order of `names`, all organs of the data set; 0 for the others."""
    wide = np.zeros((len(probabilities), len(names)))
    wide[:, organ_numbers(outputs, names)] = probabilities
    return wide
