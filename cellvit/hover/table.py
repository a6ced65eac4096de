"""Nuclei and NT map of a tile -> a table of the nuclei for export."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Integer, UInt8

from cellvit.hover.classes import classify
from cellvit.hover.runs import runs_of


@dataclass(frozen=True, slots=True, eq=False)
class NucleusTable:
    """The nuclei of one tile; entry i belongs to label i + 1. Positions are in pixels from the top left of the tile.

    Attributes:
        area_px: Number of pixels.
        centroid: Mean (row, column).
        box: First row, first column, last row + 1, last column + 1.
        classes: Nuclear `NucleusClass`, never background.
        probability: Mean NT probability of that class over the nucleus, 0..1.
        contour: Corners (x, y) of the outline through the outermost pixels, of the largest piece if a nucleus has
            several; one or two points if a nucleus is a pixel or a line.
    """

    area_px: Int64[np.ndarray, " n"]
    centroid: Float64[np.ndarray, "n 2"]
    box: Int64[np.ndarray, "n 4"]
    classes: UInt8[np.ndarray, " n"]
    probability: Float32[np.ndarray, " n"]
    contour: tuple[Int32[np.ndarray, "k 2"], ...]

    def __len__(self) -> int:
        return len(self.area_px)


def nucleus_table(instances: Integer[np.ndarray, "h w"], nt_prob: Float[np.ndarray, "6 h w"]) -> NucleusTable:
    """Area, centroid, box, class with probability, and contour of every nucleus.

    Args:
        instances: Labels 1..n without gaps, as returned by `cellvit.hover.decode.segment`.
        nt_prob: Probability of each `NucleusClass`, background first.

    Raises:
        ContractError: The shapes do not match, `nt_prob` is not finite, or the labels have gaps.

    Examples:
        >>> table = nucleus_table(np.array([[0, 1, 1], [0, 1, 1]]), np.full((6, 2, 3), 1 / 6))
        >>> table.centroid.tolist(), table.box.tolist(), table.contour[0].tolist()
        ([[0.5, 1.5]], [[0, 1, 2, 3]], [[1, 0], [1, 1], [2, 1], [2, 0]])
    """
    typed = classify(instances, nt_prob)
    n_nuclei = len(typed.classes)
    width = instances.shape[1]
    start, length_px, ids = runs_of(instances.reshape(-1), width)
    nucleus, row = ids - 1, start // width
    column = start - row * width
    area_px = np.bincount(nucleus, length_px, n_nuclei)
    columns = (2 * column + length_px - 1) * length_px / 2  # sum over the run
    sums = np.stack([np.bincount(nucleus, at, n_nuclei) for at in (row * length_px, columns)], axis=1)
    box = _boxes(nucleus, (row, column, row + 1, column + length_px), n_nuclei)
    return NucleusTable(
        area_px=area_px.astype(np.int64),
        centroid=sums / area_px[:, None],
        box=box,
        classes=typed.classes,
        probability=typed.probability,
        contour=tuple(_contour(instances, label, *corners) for label, corners in enumerate(box.tolist(), start=1)),
    )


def _boxes(
    nucleus: Int64[np.ndarray, " r"], sides: tuple[Int64[np.ndarray, " r"], ...], n_nuclei: int
) -> Int64[np.ndarray, "n 4"]:
    """Smallest top and left, largest bottom and right of the runs of each nucleus."""
    top, left, bottom, right = sides
    box = np.zeros((n_nuclei, 4), np.int64)
    box[:, :2] = np.iinfo(np.int64).max
    for place, (side, extreme) in enumerate(
        ((top, np.minimum), (left, np.minimum), (bottom, np.maximum), (right, np.maximum))
    ):
        extreme.at(box[:, place], nucleus, side)
    return box


def _contour(
    instances: Integer[np.ndarray, "h w"], label: int, top: int, left: int, bottom: int, right: int
) -> Int32[np.ndarray, "k 2"]:
    own = (instances[top:bottom, left:right] == label).view(np.uint8)
    pieces, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
    largest = pieces[0] if len(pieces) == 1 else max(pieces, key=lambda piece: (cv2.contourArea(piece), len(piece)))
    contour: Int32[np.ndarray, "k 2"] = largest.reshape(-1, 2)
    return contour
