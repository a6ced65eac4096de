"""Slow metrics of decoder maps and of class probabilities, for comparison with cellvit.metrics.maps and .classification."""

from collections import Counter
from itertools import pairwise
from math import atan2, degrees, hypot, nan

import numpy as np


def map_metrics(
    np_prob: np.ndarray, hv: np.ndarray, nt: np.ndarray, instances: np.ndarray, classes: np.ndarray, hv_true: np.ndarray
) -> dict[str, float]:
    """Metrics of the maps, pixel by pixel over the whole batch."""
    shared = nuclear = predicted = pixels = right = 0
    error = zero = length = length_true = 0.0
    by_class: Counter[int] = Counter()
    angles: list[float] = []
    for b, r, c in np.ndindex(instances.shape):
        pixels += 1
        predicted += np_prob[b, r, c] >= 0.5
        if not instances[b, r, c]:
            continue
        nuclear += 1
        shared += np_prob[b, r, c] >= 0.5
        h, v = (float(x) for x in hv[b, :, r, c])
        h_true, v_true = (float(x) for x in hv_true[b, :, r, c])
        error += (h - h_true) ** 2 + (v - v_true) ** 2
        zero += h_true**2 + v_true**2
        length += hypot(h, v)
        if hypot(h_true, v_true) > 0:
            along, across = h * h_true + v * v_true, h * v_true - v * h_true
            angles.append(abs(degrees(atan2(across, along))) if hypot(h, v) > 0 else 90.0)
        length_true += hypot(h_true, v_true)
        right += nt[b, r, c] == classes[b, r, c]
        by_class[int(classes[b, r, c])] += 1
    return {
        "np_dice": 2 * shared / (nuclear + predicted) if nuclear + predicted else nan,
        "np_dice_all_foreground": 2 * nuclear / (nuclear + pixels),
        "hv_mse": error / (2 * nuclear) if nuclear else nan,
        "hv_mse_zero": zero / (2 * nuclear) if nuclear else nan,
        "hv_skill": 1 - error / zero if zero else nan,
        "hv_angle": sum(angles) / len(angles) if angles else nan,
        "hv_length": length / nuclear if nuclear else nan,
        "hv_length_true": length_true / nuclear if nuclear else nan,
        "nt_accuracy": right / nuclear if nuclear else nan,
        "nt_accuracy_majority": max(by_class.values()) / nuclear if nuclear else nan,
    }


def calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int) -> float:
    """Equations 2 and 3 of Guo et al. 2017, bins ((m - 1) / M, m / M]."""
    n = len(truth)
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in pairwise(edges):
        members = [i for i in range(n) if low < max(probabilities[i]) <= high]
        if members:
            right = sum(int(np.argmax(probabilities[i])) == truth[i] for i in members) / len(members)
            confidence = sum(max(probabilities[i]) for i in members) / len(members)
            total += len(members) / n * abs(right - confidence)
    return total if n else nan
