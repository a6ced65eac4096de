"""NT map and nuclei of a tile -> the class of each nucleus, by the votes of its pixels (Graham et al. 2019), and how probable."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64, Integer, UInt8

from cellvit.errors import ContractError
from cellvit.hover.checks import check_finite


class TypedNuclei(NamedTuple):
    """Classes of the nuclei of one tile; entry i belongs to label i + 1.

    Attributes:
        classes: Number of a nuclear class, never 0, the background.
        probability: Mean over the pixels of the nucleus of the NT probability of that class, 0..1.
    """

    classes: UInt8[np.ndarray, " n"]
    probability: Float32[np.ndarray, " n"]


def classify(instances: Integer[np.ndarray, "h w"], nt_prob: Float[np.ndarray, "c h w"]) -> TypedNuclei:
    """Give each nucleus the nuclear class of most of its pixels.

    A pixel votes for its most probable class. Votes for background do not count. In a tie, or without any other vote,
    the nuclear class of the highest mean probability wins.

    Args:
        instances: Labels 1..n without gaps, as returned by `cellvit.hover.decode.segment`.
        nt_prob: Probability of each class, background first, summing to 1 over the classes.

    Raises:
        ContractError: The shapes do not match, `nt_prob` is not finite on a nucleus, or the labels have gaps.
    """
    if nt_prob.shape != (max(len(nt_prob), 2), *instances.shape):
        raise ContractError(
            "NT probabilities must be (c, h, w) over instances (h, w), background first, then one class or more, "
            f"found {nt_prob.shape} over {instances.shape}. Pass one tile at a time, channels first."
        )
    # Only nuclear pixels matter: p of them, each with its nucleus (from 0) and the probability of each class.
    n_nuclei = int(instances.max(initial=0))
    inside = np.flatnonzero(instances > 0)
    nucleus = instances.reshape(-1)[inside] - 1
    probability = nt_prob.reshape(len(nt_prob), -1).take(inside, axis=1)
    check_finite("nt_prob", probability)

    votes = _votes(nucleus, probability, n_nuclei)
    area_px = votes.sum(axis=1, keepdims=True)  # every pixel has one vote
    if not area_px.all():
        raise ContractError(
            f"instance labels must be 1..{n_nuclei} without gaps, found no pixel of label {int(area_px.argmin()) + 1}. "
            "Relabel with cellvit.hover.relabel.relabel."
        )

    classes = _elected(votes, nucleus, probability)
    # Mean probability of the elected class over all pixels of the nucleus, whatever they voted for.
    sums = np.bincount(nucleus, probability[classes[nucleus], np.arange(len(nucleus))], n_nuclei)
    return TypedNuclei(classes.astype(np.uint8), (sums / area_px[:, 0]).astype(np.float32))


def class_probabilities(
    instances: Integer[np.ndarray, "h w"], nt_prob: Float[np.ndarray, "c_plus_1 h w"]
) -> Float32[np.ndarray, "n c"]:
    """Probability of each nuclear class for each nucleus: the mean over its pixels, without background, summing to 1.

    A nucleus whose pixels are all certainly background has the same probability of every class. The class of `classify`,
    which the votes of the pixels decide, is not always the one of the highest probability.

    Args:
        instances: Labels 1..n without gaps; row i belongs to label i + 1.
        nt_prob: As `classify` takes it.

    Examples:
        >>> class_probabilities(np.array([[1, 1]]), np.array([[[0.5, 0]], [[0.4, 0.5]], [[0.1, 0.5]]]))
        array([[0.6, 0.4]], dtype=float32)
    """
    n_nuclei = int(instances.max(initial=0))
    inside = np.flatnonzero(instances > 0)
    nucleus = instances.reshape(-1)[inside] - 1
    planes = nt_prob[1:].reshape(len(nt_prob) - 1, -1).take(inside, axis=1)
    sums = np.stack([np.bincount(nucleus, plane, n_nuclei) for plane in planes], axis=1)
    total = sums.sum(axis=1, keepdims=True)
    shares: Float32[np.ndarray, "n c"] = np.full(sums.shape, 1 / len(planes), np.float32)
    np.divide(sums, total, out=shares, where=total > 0, casting="same_kind")
    return shares


def calibrated(probability: Float32[np.ndarray, "n c"], temperature: float) -> Float32[np.ndarray, "n c"]:
    """Probabilities to the power of 1 / temperature, normalised: above 1 they become less certain, below 1 more certain.

    The order of the classes stays the same. At temperature 1, the probabilities are returned as they are.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (for logarithms of probabilities as logits).

    Examples:
        >>> calibrated(np.array([[0.8, 0.2]], np.float32), 2).round(3)
        array([[0.667, 0.333]], dtype=float32)
    """
    if temperature == 1:
        return probability
    # Relative to the highest of each nucleus, which is above 0: so that no power becomes 0 for all classes.
    relative = probability.astype(np.float64) / probability.max(axis=1, keepdims=True, initial=0)
    powers = relative ** (1 / temperature)
    scaled: Float32[np.ndarray, "n c"] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def class_map(instances: Integer[np.ndarray, "h w"], classes: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, "h w"]:
    """Class of each pixel, which is that of its nucleus (``classes[i]`` belongs to label ``i + 1``); background is 0.

    Examples:
        >>> class_map(np.array([[0, 2, 1]]), np.array([5, 3], np.uint8))
        array([[0, 3, 5]], dtype=uint8)
    """
    lookup = np.zeros(len(classes) + 1, np.uint8)
    lookup[1:] = classes
    pixels: UInt8[np.ndarray, "h w"] = lookup[instances]
    return pixels


def _votes(
    nucleus: Integer[np.ndarray, " p"], probability: Float[np.ndarray, "c p"], n_nuclei: int
) -> Int64[np.ndarray, "n c"]:
    """Number of pixels of each nucleus by their most probable class (the smallest number of equal ones)."""
    # The argmax over the classes, in a loop because numpy's argmax over a first axis takes twice as long.
    winner = np.zeros(len(nucleus), np.intp)
    greatest = probability[0].copy()
    for number, plane in enumerate(probability[1:], start=1):
        winner[plane > greatest] = number
        np.maximum(greatest, plane, out=greatest)
    n_classes = len(probability)
    return np.bincount(nucleus * n_classes + winner, minlength=n_nuclei * n_classes).reshape(n_nuclei, n_classes)


def _elected(
    votes: Int64[np.ndarray, "n c"], nucleus: Integer[np.ndarray, " p"], probability: Float[np.ndarray, "c p"]
) -> Int64[np.ndarray, " n"]:
    """Nuclear class with most votes; among equal classes the one with the highest mean probability."""
    # Score 1 for the classes with most votes, background left out: without a tie, that decides.
    nuclear = votes[:, 1:]
    most = nuclear == nuclear.max(axis=1, keepdims=True, initial=0)
    tied = np.flatnonzero(most.sum(axis=1) > 1)
    score = most.astype(np.float64)
    # In a tie, their summed probabilities are the score (without any nuclear vote, all nuclear classes are tied at 0).
    if len(tied):
        planes = probability[1:]
        sums = np.stack([np.bincount(nucleus, plane, len(votes)) for plane in planes], axis=1)
        score[tied] = np.where(most[tied], sums[tied], -1)
    elected: Int64[np.ndarray, " n"] = score.argmax(axis=1) + 1
    return elected
