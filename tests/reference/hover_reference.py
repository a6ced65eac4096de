"""HoVer-Net's distance maps and watershed as slow programs, for comparison with the fast ones of cellvit.hover.

Written from the text of Graham et al. 2019 (arXiv 1812.06499, section III) and from the documentation of the libraries
that its program calls. Nothing here imports cellvit, OpenCV, SciPy or scikit-image.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import comb, sqrt

import numpy as np

Pixel = tuple[int, int]
Queued = tuple[float, int, Pixel]

NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0))
"""Steps to the 4-connected neighbours, in the order of the flood."""

GAUSSIAN = (0.25, 0.5, 0.25)
"""Weights of a Gaussian three pixels wide, as OpenCV chooses them without a given width."""


def hv_maps(instances: np.ndarray) -> np.ndarray:
    """Horizontal and vertical distance to the exact centre of mass, each side divided by its own largest distance."""
    hv = np.zeros((2, *instances.shape), np.float32)
    for label in set(instances.flatten().tolist()) - {0}:
        pixels = [(int(row), int(column)) for row, column in np.argwhere(instances == label)]
        for channel, axis in ((0, 1), (1, 0)):
            centre = Fraction(sum(at[axis] for at in pixels), len(pixels))
            reach = {side: max((at[axis] - centre) * side for at in pixels) for side in (-1, 1)}
            for at in pixels:
                if distance := at[axis] - centre:
                    hv[channel][at] = float(distance / reach[1 if distance > 0 else -1])
    return hv


def segment(
    np_prob: np.ndarray,
    hv: np.ndarray,
    *,
    np_threshold: float = 0.5,
    hv_threshold: float = 0.4,
    min_object_px: int = 10,
    min_marker_px: int = 10,
    sobel_px: int = 21,
    opening_px: int = 5,
) -> np.ndarray:
    """Nuclei by HoVer-Net's post-processing, numbered by the first pixel of their markers in reading order."""
    nuclear = large_pieces(np_prob >= np.float32(np_threshold), min_object_px) > 0
    energy = border_energy(hv, sobel_px)
    inner = opened(filled(nuclear & (energy < np.float32(hv_threshold))), ellipse(opening_px))
    markers = large_pieces(inner, min_marker_px)
    depth = np.where(nuclear, 1.0 - energy.astype(np.float64), 0.0)
    return flooded(-weighted(depth, GAUSSIAN, GAUSSIAN), np.where(nuclear, markers, 0), nuclear)


def border_energy(hv: np.ndarray, sobel_px: int) -> np.ndarray:
    """Equation 5 of the paper: the larger of the two maps' inverted, scaled derivatives, each along its own axis."""
    horizontal, vertical = (unit_range(plane) for plane in hv)
    smoothing, derivative = sobel_weights(sobel_px)
    across = np.float32(1) - unit_range(weighted(horizontal, smoothing, derivative))
    along = np.float32(1) - unit_range(weighted(vertical, derivative, smoothing))
    return np.maximum(across, along)


def unit_range(plane: np.ndarray) -> np.ndarray:
    """Scaled to 0..1 by its extremes, in single precision like OpenCV; 0 if it is constant."""
    low, high = float(plane.min()), float(plane.max())
    scale = float(np.float32(1 / (high - low))) if high > low else 0.0
    shift = -float(np.float32(low * scale))
    return (plane.astype(np.float64) * scale + shift).astype(np.float32)


def sobel_weights(size_px: int) -> tuple[list[float], list[float]]:
    """Binomial smoothing, and the derivative: the difference of the binomials one row up, shifted by a pixel."""
    smoothing = [float(comb(size_px - 1, k)) for k in range(size_px)]
    row_up = [0, *(comb(size_px - 2, k) for k in range(size_px - 1)), 0]
    return smoothing, [float(before - here) for before, here in pairwise(row_up)]


def weighted(
    plane: np.ndarray, down: tuple[float, ...] | list[float], across: tuple[float, ...] | list[float]
) -> np.ndarray:
    """Weighted sums along rows, then along columns; the tile is reflected about its outermost pixels."""
    by_row = [summed(row, across) for row in plane.tolist()]
    by_column = [summed(list(column), down) for column in zip(*by_row, strict=True)]
    return np.array(by_column).T


def summed(values: list[float], weights: tuple[float, ...] | list[float]) -> list[float]:
    """Sum of the weighted neighbours of each value; before the first value comes the second, and so on."""
    last, radius = len(values) - 1, len(weights) // 2
    return [
        sum(weight * values[last - abs(last - abs(i + k - radius))] for k, weight in enumerate(weights))
        for i in range(len(values))
    ]


def inside(at: Pixel, mask: np.ndarray) -> bool:
    """Whether a pixel is inside the tile and the mask."""
    return 0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1] and bool(mask[at])


def spread(start: Pixel, mask: np.ndarray) -> set[Pixel]:
    """The 4-connected piece of a mask that contains a pixel."""
    piece, edge = {start}, [start]
    while edge:
        row, column = edge.pop()
        for down, right in NEIGHBOURS:
            at = (row + down, column + right)
            if at not in piece and inside(at, mask):
                piece.add(at)
                edge.append(at)
    return piece


def large_pieces(mask: np.ndarray, min_px: int) -> np.ndarray:
    """The pieces of a mask of at least `min_px` pixels, numbered from 1 by their first pixel in reading order."""
    labels = np.zeros(mask.shape, np.int32)
    seen: set[Pixel] = set()
    for at in np.ndindex(mask.shape):
        if mask[at] and at not in seen:
            piece = spread(at, mask)
            seen |= piece
            if len(piece) >= min_px:
                labels[tuple(zip(*piece, strict=True))] = labels.max() + 1
    return labels


def filled(mask: np.ndarray) -> np.ndarray:
    """The mask with its holes filled: background that is not connected to the border of the tile."""
    height, width = mask.shape
    outside: set[Pixel] = set()
    for row, column in np.ndindex(mask.shape):
        on_border = row in (0, height - 1) or column in (0, width - 1)
        if on_border and not mask[row, column] and (row, column) not in outside:
            outside |= spread((row, column), ~mask)
    return np.array([[(row, column) not in outside for column in range(width)] for row in range(height)])


def ellipse(size_px: int) -> list[Pixel]:
    """Steps from the centre to the pixels of OpenCV's ellipse: each row as wide as the ellipse there, rounded."""
    radius = size_px // 2
    steps = []
    for down in range(-radius, size_px - radius):
        if abs(down) <= radius:
            width = round(radius * sqrt((radius**2 - down**2) / radius**2)) if radius else 0
            steps += [(down, right) for right in range(-width, min(width + 1, size_px - radius))]
    return steps


def opened(mask: np.ndarray, steps: list[Pixel]) -> np.ndarray:
    """Eroded, then dilated; pixels outside the tile are ignored."""

    def around(at: Pixel, of: np.ndarray) -> Iterator[bool]:
        for down, right in steps:
            row, column = at[0] + down, at[1] + right
            if 0 <= row < of.shape[0] and 0 <= column < of.shape[1]:
                yield bool(of[row, column])

    eroded, dilated = np.zeros_like(mask), np.zeros_like(mask)
    for at in np.ndindex(mask.shape):
        eroded[at] = all(around(at, mask))
    for at in np.ndindex(mask.shape):
        dilated[at] = any(around(at, eroded))
    return dilated


def flooded(landscape: np.ndarray, markers: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Priority flood inside the mask: the lowest pixel next, among equal ones the one that was reached first.

    A pixel gets its label when it is reached. All markers are reached at time 0; equal items have the order of the
    queue, which is a binary heap.
    """
    labels = markers.copy()
    queue: list[Queued] = []
    for at in np.ndindex(labels.shape):
        if labels[at]:
            push(queue, (float(landscape[at]), 0, at))
    time = 0
    while queue:
        height, _, (row, column) = pop(queue)
        for down, right in NEIGHBOURS:
            at = (row + down, column + right)
            if inside(at, mask) and not labels[at]:
                time += 1
                labels[at] = labels[row, column]
                push(queue, (max(height, float(landscape[at])), time, at))
    return labels


def push(heap: list[Queued], item: Queued) -> None:
    """Append an item and move it up past every parent that is strictly greater."""
    heap.append(item)
    place = len(heap) - 1
    while place and heap[place][:2] < heap[(place - 1) // 2][:2]:
        parent = (place - 1) // 2
        heap[place], heap[parent] = heap[parent], heap[place]
        place = parent


def pop(heap: list[Queued]) -> Queued:
    """Remove the first item, replace it by the last, and move that down past every child that is strictly smaller."""
    heap[0], heap[-1] = heap[-1], heap[0]
    first = heap.pop()
    place = 0
    while True:
        least = place
        for child in (2 * place + 1, 2 * place + 2):
            if child < len(heap) and heap[child][:2] < heap[least][:2]:
                least = child
        if least == place:
            return first
        heap[place], heap[least] = heap[least], heap[place]
        place = least
