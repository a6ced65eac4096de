"""Plain, slow metrics written with loops from the papers' text: what the fast ones of cellvit.metrics must equal.

Nothing here imports cellvit. A nucleus is the set of its pixels; an assignment is found by trying all of them, so
maps must be small (at most five nuclei a side).
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import dist, hypot, nan

import numpy as np

Pixel = tuple[int, int]
Nuclei = dict[int, set[Pixel]]

UNPAIRED = 6
RADIUS_PX = 12


def nuclei(instances: np.ndarray) -> Nuclei:
    """Pixels of each nucleus, by ascending label."""
    found: Nuclei = {}
    for at in np.ndindex(instances.shape):
        if instances[at]:
            found.setdefault(int(instances[at]), set()).add(at)
    return dict(sorted(found.items()))


def dice(truth: np.ndarray, found: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of the nuclear pixels."""
    a = {at for at in np.ndindex(truth.shape) if truth[at]}
    b = {at for at in np.ndindex(found.shape) if found[at]}
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else nan


def aji(truth: np.ndarray, found: np.ndarray) -> float:
    """Algorithm 1 of Kumar et al. 2017."""
    true_nuclei, found_nuclei = nuclei(truth), nuclei(found)
    intersection = union = 0
    used = set()
    for pixels in true_nuclei.values():
        best, best_iou = None, Fraction(0)
        for label, others in found_nuclei.items():
            iou = Fraction(len(pixels & others), len(pixels | others))
            if iou > best_iou:
                best, best_iou = label, iou
        if best is None:
            union += len(pixels)
        else:
            intersection += len(pixels & found_nuclei[best])
            union += len(pixels | found_nuclei[best])
            used.add(best)
    union += sum(len(pixels) for label, pixels in found_nuclei.items() if label not in used)
    return intersection / union if union else nan


def aji_plus(truth: np.ndarray, found: np.ndarray) -> set[float]:
    """AJI+ of every one-to-one assignment of maximal total IoU: more than one value where assignments tie."""
    true_nuclei, found_nuclei = list(nuclei(truth).values()), list(nuclei(found).values())
    totals: dict[Fraction, set[float]] = {}
    for pairs in assignments(len(true_nuclei), len(found_nuclei)):
        intersection = union = 0
        total = Fraction(0)
        for i, j in pairs:
            a, b = true_nuclei[i], found_nuclei[j]
            total += Fraction(len(a & b), len(a | b))
            if a & b:
                intersection += len(a & b)
                union += len(a | b)
            else:
                union += len(a) + len(b)
        union += sum(len(a) for i, a in enumerate(true_nuclei) if i not in dict(pairs))
        union += sum(len(b) for j, b in enumerate(found_nuclei) if j not in dict(pairs).values())
        totals.setdefault(total, set()).add(intersection / union if union else nan)
    return totals[max(totals)]


def panoptic(truth: Nuclei, found: Nuclei) -> tuple[int, int, int, float]:
    """TP, FP, FN and the sum of IoU of pairs with IoU > 0.5."""
    matched_iou = 0.0
    true_positives = 0
    for pixels in truth.values():
        for others in found.values():
            iou = Fraction(len(pixels & others), len(pixels | others))
            if iou > Fraction(1, 2):
                true_positives += 1
                matched_iou += float(iou)
    return true_positives, len(found) - true_positives, len(truth) - true_positives, matched_iou


def quality(counts: tuple[int, int, int, float]) -> float:
    """PQ = DQ * SQ; 0 where nothing matches, NaN where there is nothing."""
    true_positives, false_positives, false_negatives, matched_iou = counts
    if not (true_positives or false_positives or false_negatives):
        return nan
    if not true_positives:
        return 0.0
    detection = true_positives / (true_positives + false_positives / 2 + false_negatives / 2)
    return detection * (matched_iou / true_positives)


def class_of(pixels: set[Pixel], classes: np.ndarray) -> int:
    """Most frequent class of the pixels but background; the smaller in a tie; 0 where all are background."""
    votes = Counter(int(classes[at]) for at in pixels if classes[at])
    return min(votes, key=lambda c: (-votes[c], c)) if votes else 0


def pannuke(
    truth: np.ndarray, truth_classes: np.ndarray, found: np.ndarray, found_classes: np.ndarray
) -> tuple[float, list[float], float, float, list[tuple[int, int, int, float]]]:
    """BPQ, class PQs, mPQ, strict mPQ and class counts of a tile (Gamper et al. 2020)."""
    true_nuclei, found_nuclei = nuclei(truth), nuclei(found)
    bpq = quality(panoptic(true_nuclei, found_nuclei)) if true_nuclei else nan
    counts, by_class, strict = [], [], []
    for c in range(1, 6):
        a = {label: pixels for label, pixels in true_nuclei.items() if class_of(pixels, truth_classes) == c}
        b = {label: pixels for label, pixels in found_nuclei.items() if class_of(pixels, found_classes) == c}
        counts.append(panoptic(a, b))
        by_class.append(quality(counts[-1]) if a else nan)
        strict.append(quality(counts[-1]) if a or b else nan)
    return bpq, by_class, mean(by_class), mean(strict), counts


def mean(values: list[float]) -> float:
    """Mean of the values that are not NaN."""
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined) if defined else nan


def detections(
    truth: np.ndarray, true_class_of: list[int], found: np.ndarray, found_class_of: list[int]
) -> list[list[list[int]]]:
    """Table of (true class, found class) of every assignment of least total distance (they may tie)."""
    a, b = centroids(truth), centroids(found)
    best, tables = float("inf"), []
    for pairs in assignments(len(a), len(b)):
        if len(pairs) < min(len(a), len(b)):
            continue
        total = sum(dist(a[i], b[j]) for i, j in pairs)
        if total < best - 1e-9:
            best, tables = total, []
        if total <= best + 1e-9:
            near = [(i, j) for i, j in pairs if dist(a[i], b[j]) <= RADIUS_PX]
            tables.append(table_of(near, true_class_of, found_class_of))
    return tables


def table_of(pairs: list[tuple[int, int]], true_class_of: list[int], found_class_of: list[int]) -> list[list[int]]:
    """Pairs, missed nuclei (last column) and spurious nuclei (last row), counted by class."""
    table = [[0] * (UNPAIRED + 1) for _ in range(UNPAIRED + 1)]
    for i, j in pairs:
        table[true_class_of[i]][found_class_of[j]] += 1
    for i, c in enumerate(true_class_of):
        if i not in [pair[0] for pair in pairs]:
            table[c][UNPAIRED] += 1
    for j, c in enumerate(found_class_of):
        if j not in [pair[1] for pair in pairs]:
            table[UNPAIRED][c] += 1
    return table


def class_f1(table: list[list[int]], c: int) -> float:
    """F1 of a class by HoVer-Net's weights 2, 2, 1, 1."""
    right = table[c][c]
    mistaken_for = sum(table[t][c] for t in range(UNPAIRED)) - right
    mistaken = sum(table[c][f] for f in range(UNPAIRED)) - right
    weight = 2 * right + 2 * mistaken_for + 2 * mistaken + table[UNPAIRED][c] + table[c][UNPAIRED]
    return 2 * right / weight if weight else nan


def centroids(instances: np.ndarray) -> list[tuple[float, float]]:
    """Mean row and column of each nucleus."""
    return [(sum(r for r, _ in p) / len(p), sum(c for _, c in p) / len(p)) for p in nuclei(instances).values()]


def assignments(n: int, m: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Every set of one-to-one pairs of 0..n-1 and 0..m-1, the empty one included."""

    def extend(i: int, free: frozenset[int]) -> Iterator[tuple[tuple[int, int], ...]]:
        if i == n:
            yield ()
            return
        yield from extend(i + 1, free)
        for j in free:
            for rest in extend(i + 1, free - {j}):
                yield ((i, j), *rest)

    return extend(0, frozenset(range(m)))


def map_figures(
    np_prob: np.ndarray,
    hv: np.ndarray,
    nt: np.ndarray,
    instances: np.ndarray,
    classes: np.ndarray,
    hv_true: np.ndarray,
) -> dict[str, float]:
    """Figures of the maps, pixel by pixel over the whole batch."""
    shared = nuclear = found = pixels = right = 0
    error = zero = magnitude = magnitude_true = 0.0
    by_class: Counter[int] = Counter()
    for b, r, c in np.ndindex(instances.shape):
        pixels += 1
        found += np_prob[b, r, c] >= 0.5
        if not instances[b, r, c]:
            continue
        nuclear += 1
        shared += np_prob[b, r, c] >= 0.5
        h, v = (float(x) for x in hv[b, :, r, c])
        h_true, v_true = (float(x) for x in hv_true[b, :, r, c])
        error += (h - h_true) ** 2 + (v - v_true) ** 2
        zero += h_true**2 + v_true**2
        magnitude += hypot(h, v)
        magnitude_true += hypot(h_true, v_true)
        right += nt[b, r, c] == classes[b, r, c]
        by_class[int(classes[b, r, c])] += 1
    return {
        "np_dice": 2 * shared / (nuclear + found) if nuclear + found else nan,
        "np_dice_all_foreground": 2 * nuclear / (nuclear + pixels),
        "hv_mse": error / (2 * nuclear) if nuclear else nan,
        "hv_mse_zero": zero / (2 * nuclear) if nuclear else nan,
        "hv_skill": 1 - error / zero if zero else nan,
        "hv_magnitude": magnitude / nuclear if nuclear else nan,
        "hv_magnitude_true": magnitude_true / nuclear if nuclear else nan,
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
