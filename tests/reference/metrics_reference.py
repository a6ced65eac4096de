"""Slow metrics written with loops from the text of the papers, for comparison with the fast ones of cellvit.metrics.

Nothing here imports cellvit. A nucleus is the set of its pixels. `aji_plus_by_trial` tries every assignment, so its maps
must be small (at most five nuclei per side); it verifies the functions on `least_assignment`, which can handle 300.
"""

from collections import Counter
from fractions import Fraction
from math import dist, inf, lcm, nan

import numpy as np

Pixel = tuple[int, int]
Nuclei = dict[int, set[Pixel]]
Pairs = list[tuple[int, int]]
Shared = dict[tuple[int, int], int]

UNPAIRED = 6
RADIUS_PX = 12


def nuclei(instances: np.ndarray) -> Nuclei:
    """Pixels of each nucleus, by ascending label."""
    by_label: Nuclei = {}
    for row, labels in enumerate(instances.tolist()):
        for column, label in enumerate(labels):
            if label:
                by_label.setdefault(int(label), set()).add((row, column))
    return dict(sorted(by_label.items()))


def overlaps(truth: Nuclei, predicted: Nuclei) -> Shared:
    """Pixels that each true and each predicted nucleus share, by ascending labels; pairs that share none are left out."""
    owner = {at: label for label, pixels in predicted.items() for at in pixels}
    shared = Counter((label, owner[at]) for label, pixels in truth.items() for at in pixels if at in owner)
    return dict(sorted(shared.items()))


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of the nuclear pixels."""
    a = {at for at in np.ndindex(truth.shape) if truth[at]}
    b = {at for at in np.ndindex(predicted.shape) if predicted[at]}
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else nan


def aji(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Algorithm 1 of Kumar et al. 2017."""
    true_nuclei, predicted_nuclei = nuclei(truth), nuclei(predicted)
    shared = overlaps(true_nuclei, predicted_nuclei)
    intersection = union = 0
    used = set()
    for true_label, pixels in true_nuclei.items():
        best, best_iou = None, Fraction(0)
        for label in (f for t, f in shared if t == true_label):
            iou = Fraction(shared[true_label, label], len(pixels | predicted_nuclei[label]))
            if iou > best_iou:
                best, best_iou = label, iou
        if best is None:
            union += len(pixels)
        else:
            intersection += len(pixels & predicted_nuclei[best])
            union += len(pixels | predicted_nuclei[best])
            used.add(best)
    union += sum(len(pixels) for label, pixels in predicted_nuclei.items() if label not in used)
    return intersection / union if union else nan


def aji_plus(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Least and greatest AJI+ of the one-to-one assignments of maximal total IoU; they differ where assignments tie.

    Nuclei that meet, directly or through others, are assigned together, the rest apart. Pairs that share nothing add
    their areas to the union, as unpaired nuclei do, so AJI+ rises with the pixels that the pairs share.
    """
    true_nuclei, predicted_nuclei = nuclei(truth), nuclei(predicted)
    shared = overlaps(true_nuclei, predicted_nuclei)
    area = sum(map(len, true_nuclei.values())) + sum(map(len, predicted_nuclei.values()))
    unions = {(t, f): len(true_nuclei[t] | predicted_nuclei[f]) for t, f in shared}
    least, greatest = (
        sum(assigned_px({pair: shared[pair] for pair in group}, unions, favour) for group in groups(shared))
        for favour in (-1, 1)
    )
    return (least / (area - least), greatest / (area - greatest)) if area else (nan, nan)


def groups(pairs: Shared) -> list[set[tuple[int, int]]]:
    """The pairs, so that no true and no predicted nucleus is in two groups."""
    apart: list[set[tuple[int, int]]] = []
    for pair in pairs:
        joined = [group for group in apart if any(pair[0] == t or pair[1] == f for t, f in group)]
        apart = [group for group in apart if group not in joined] + [{pair}.union(*joined)]
    return apart


def assigned_px(shared: Shared, unions: dict[tuple[int, int], int], favour: int) -> int:
    """Pixels shared in the assignment of maximal total IoU; of several, that of most (`favour` 1) or fewest (-1).

    Weights are whole numbers, so totals are exact: IoU over a common denominator, times more than the pixels that
    decide between equals can add up to.
    """
    denominator, outweighing = lcm(*(unions[pair] for pair in shared)), sum(shared.values()) + 1
    rows, columns = (sorted({pair[side] for pair in shared}) for side in (0, 1))
    cost: list[list[float]] = [[0] * len(columns) for _ in rows]
    for (t, f), px in shared.items():
        weight = px * (denominator // unions[t, f]) * outweighing + favour * px
        cost[rows.index(t)][columns.index(f)] = -weight
    return sum(shared.get((rows[i], columns[j]), 0) for i, j in least_assignment(cost))


def least_assignment(cost: list[list[float]]) -> Pairs:
    """One-to-one pairs (row, column) of least total cost, as many as there can be (Kuhn 1955, Munkres 1957).

    Row by row, the cheapest path of swaps to a free column is determined by Dijkstra's method. Prices of rows and columns
    keep every remaining cost at 0 or above, and at 0 where a row has its column.
    """
    if not cost or not cost[0]:
        return []
    if len(cost) > len(cost[0]):
        return sorted((j, i) for i, j in least_assignment([list(column) for column in zip(*cost, strict=True)]))
    row_of, row_price, column_price = [-1] * len(cost[0]), [0] * len(cost), [0] * len(cost[0])
    for start in range(len(cost)):
        far, before = [inf] * len(cost[0]), [-1] * len(cost[0])
        open_columns, reached = list(range(len(cost[0]))), []
        row, way, column = start, 0, -1
        while row >= 0:
            for j in open_columns:
                through = way + cost[row][j] - row_price[row] - column_price[j]
                if through < far[j]:
                    far[j], before[j] = through, column
            column = min(open_columns, key=far.__getitem__)
            open_columns.remove(column)
            reached.append(column)
            row, way = row_of[column], far[column]
        row_price[start] += way
        for j in reached[:-1]:
            row_price[row_of[j]] += way - far[j]
            column_price[j] -= way - far[j]
        while column >= 0:
            row_of[column] = row_of[before[column]] if before[column] >= 0 else start
            column = before[column]
    return sorted((i, j) for j, i in enumerate(row_of) if i >= 0)


def panoptic(truth: Nuclei, predicted: Nuclei) -> tuple[int, int, int, float]:
    """TP, FP, FN and the sum of IoU of pairs with IoU > 0.5."""
    matched_iou = 0.0
    true_positives = 0
    for t, f in overlaps(truth, predicted):
        iou = Fraction(len(truth[t] & predicted[f]), len(truth[t] | predicted[f]))
        if iou > Fraction(1, 2):
            true_positives += 1
            matched_iou += float(iou)
    return true_positives, len(predicted) - true_positives, len(truth) - true_positives, matched_iou


def quality(counts: tuple[int, int, int, float]) -> float:
    """PQ of `qualities`."""
    return qualities(counts)[2]


def qualities(counts: tuple[int, int, int, float]) -> tuple[float, float, float]:
    """DQ, SQ and PQ = DQ * SQ; 0 but for SQ where nothing matches, NaN where there is nothing."""
    true_positives, false_positives, false_negatives, matched_iou = counts
    if not (true_positives or false_positives or false_negatives):
        return nan, nan, nan
    if not true_positives:
        return 0.0, nan, 0.0
    detection = true_positives / (true_positives + false_positives / 2 + false_negatives / 2)
    segmentation = matched_iou / true_positives
    return detection, segmentation, detection * segmentation


def class_of(pixels: set[Pixel], classes: np.ndarray) -> int:
    """Most frequent class of the pixels but background; the smaller in a tie; 0 where all are background."""
    votes = Counter(int(classes[at]) for at in pixels if classes[at])
    return min(votes, key=lambda c: (-votes[c], c)) if votes else 0


def pannuke(
    truth: np.ndarray, truth_classes: np.ndarray, predicted: np.ndarray, predicted_classes: np.ndarray
) -> tuple[float, list[float], float, float, list[tuple[int, int, int, float]]]:
    """BPQ, class PQs, mPQ, strict mPQ and class counts of a tile (Gamper et al. 2020)."""
    true_nuclei, predicted_nuclei = nuclei(truth), nuclei(predicted)
    bpq = quality(panoptic(true_nuclei, predicted_nuclei)) if true_nuclei else nan
    counts, by_class, strict = [], [], []
    for c in range(1, 6):
        a = {label: pixels for label, pixels in true_nuclei.items() if class_of(pixels, truth_classes) == c}
        b = {label: pixels for label, pixels in predicted_nuclei.items() if class_of(pixels, predicted_classes) == c}
        counts.append(panoptic(a, b))
        by_class.append(quality(counts[-1]) if a else nan)
        strict.append(quality(counts[-1]) if a or b else nan)
    return bpq, by_class, mean(by_class), mean(strict), counts


def mean(values: list[float]) -> float:
    """Mean of the values that are not NaN."""
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined) if defined else nan


def mean_over_organs(values: list[float], organs: list[str]) -> float:
    """Mean over the organs of the means of their tiles, tiles and organs without a value left out."""
    return mean([mean([v for v, o in zip(values, organs, strict=True) if o == organ]) for organ in sorted(set(organs))])


def least_distance(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Total distance of the nearest one-to-one pairs of centroids, as many as there can be."""
    distance = [[dist(a, b) for b in centroids(predicted)] for a in centroids(truth)]
    return sum(distance[i][j] for i, j in least_assignment(distance))


def table_of(pairs: Pairs, true_class_of: list[int], predicted_class_of: list[int]) -> list[list[int]]:
    """Pairs, missed nuclei (last column) and spurious nuclei (last row), counted by class."""
    table = [[0] * (UNPAIRED + 1) for _ in range(UNPAIRED + 1)]
    for i, j in pairs:
        table[true_class_of[i]][predicted_class_of[j]] += 1
    for i, c in enumerate(true_class_of):
        if i not in [pair[0] for pair in pairs]:
            table[c][UNPAIRED] += 1
    for j, c in enumerate(predicted_class_of):
        if j not in [pair[1] for pair in pairs]:
            table[UNPAIRED][c] += 1
    return table


def detection_scores(table: list[list[int]]) -> tuple[float, float, float]:
    """Precision, recall and F1 of all nuclei, whatever their class."""
    paired = sum(sum(row[:UNPAIRED]) for row in table[:UNPAIRED])
    return scores(paired, sum(table[UNPAIRED]), sum(row[UNPAIRED] for row in table))


def class_scores(table: list[list[int]], c: int) -> tuple[float, float, float]:
    """Precision, recall and F1 of a class by HoVer-Net's weights: 2 for a pair of wrong class, 1 for no pair."""
    right = table[c][c]
    mistaken_for = sum(table[t][c] for t in range(UNPAIRED)) - right
    mistaken = sum(table[c][f] for f in range(UNPAIRED)) - right
    return scores(right, 2 * mistaken_for + table[UNPAIRED][c], 2 * mistaken + table[c][UNPAIRED])


def scores(right: int, wrong: int, missed: int) -> tuple[float, float, float]:
    """Precision, recall and F1, each NaN where nothing defines it."""
    tops, bottoms = (right, right, 2 * right), (right + wrong, right + missed, 2 * right + wrong + missed)
    precision, recall, f1 = (top / bottom if bottom else nan for top, bottom in zip(tops, bottoms, strict=True))
    return precision, recall, f1


def centroids(instances: np.ndarray) -> list[tuple[float, float]]:
    """Mean row and column of each nucleus."""
    return [(sum(r for r, _ in p) / len(p), sum(c for _, c in p) / len(p)) for p in nuclei(instances).values()]
