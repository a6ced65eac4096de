"""Slow metrics of outlines, agreement and pairing, written with loops over pixels and tiles; nothing imports cellvit."""

from math import ceil, dist, nan, sqrt

import metrics_reference as reference
import numpy as np

Pixel = tuple[int, int]


def neighbours(at: Pixel, shape: tuple[int, int]) -> list[Pixel]:
    """Up to four pixels beside one of a tile."""
    around = [(at[0] - 1, at[1]), (at[0] + 1, at[1]), (at[0], at[1] - 1), (at[0], at[1] + 1)]
    return [(row, column) for row, column in around if 0 <= row < shape[0] and 0 <= column < shape[1]]


def outline(pixels: set[Pixel], shape: tuple[int, int]) -> list[Pixel]:
    """Pixels of a nucleus with a neighbour outside it."""
    return sorted(at for at in pixels if any(other not in pixels for other in neighbours(at, shape)))


def outline_distances(truth: np.ndarray, predicted: np.ndarray) -> list[tuple[float, float]]:
    """Mean symmetric distance and 95 % Hausdorff distance of each matched pair, by ascending labels."""
    true_nuclei, predicted_nuclei = reference.nuclei(truth), reference.nuclei(predicted)
    found = []
    for (t, p), shared in reference.overlaps(true_nuclei, predicted_nuclei).items():
        if 2 * shared <= len(true_nuclei[t] | predicted_nuclei[p]):
            continue
        one, other = outline(true_nuclei[t], truth.shape), outline(predicted_nuclei[p], truth.shape)
        if one and other:
            there = sorted(min(dist(a, b) for b in other) for a in one)
            back = sorted(min(dist(a, b) for a in one) for b in other)
            mean = (sum(there) + sum(back)) / (len(there) + len(back))
            found.append((mean, max(side[ceil(0.95 * len(side)) - 1] for side in (there, back))))
    return found


def tolerant_panoptic(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int, float]:
    """TP, FP, FN and sum of IoU after the pixels at true borders are removed from both sides."""
    void = {at for at in np.ndindex(truth.shape) if any(truth[at] != truth[o] for o in neighbours(at, truth.shape))}
    kept = [
        {label: pixels - void for label, pixels in reference.nuclei(side).items() if pixels - void}
        for side in (truth, predicted)
    ]
    return reference.panoptic(*kept)


def agreement(true: list[int], predicted: list[int]) -> tuple[float, float, float]:
    """Bias, half-width of the limits of agreement, and Lin's concordance."""
    n = len(true)
    if not n:
        return nan, nan, nan
    differences = [p - t for t, p in zip(true, predicted, strict=True)]
    bias = sum(differences) / n
    limit = 1.96 * sqrt(sum((d - bias) ** 2 for d in differences) / (n - 1)) if n > 1 else nan
    mean_t, mean_p = sum(true) / n, sum(predicted) / n
    variances = sum((t - mean_t) ** 2 for t in true) / n + sum((p - mean_p) ** 2 for p in predicted) / n
    covariance = sum((t - mean_t) * (p - mean_p) for t, p in zip(true, predicted, strict=True)) / n
    below = variances + (mean_t - mean_p) ** 2
    return bias, limit, 2 * covariance / below if below > 1e-12 else nan


def pairs_within(true_at: list[Pixel], predicted_at: list[Pixel], radius_px: float) -> tuple[int, float]:
    """Largest number of pairs within the radius, and the least total distance of so many: every choice is tried."""
    if not true_at:
        return 0, 0.0
    at, rest = true_at[0], true_at[1:]
    choices = [pairs_within(rest, predicted_at, radius_px)]  # the first nucleus stays unpaired
    for place, other in enumerate(predicted_at):
        if dist(at, other) <= radius_px:
            count, total = pairs_within(rest, predicted_at[:place] + predicted_at[place + 1 :], radius_px)
            choices.append((count + 1, total + dist(at, other)))
    return max(choices, key=lambda choice: (choice[0], -choice[1]))
