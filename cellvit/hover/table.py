"""Nuclei and NT map of a tile -> what an export needs to know of each nucleus."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Integer, UInt8
from scipy import ndimage

from cellvit.hover.classes import classify


@dataclass(frozen=True, slots=True, eq=False)
class NucleusTable:
    """The nuclei of one tile; entry i belongs to label i + 1. Positions are pixels of the tile, from its top left.

    Attributes:
        area_px: Number of pixels.
        centroid: Mean (row, column).
        box: First row, first column, last row + 1, last column + 1.
        classes: Nuclear `NucleusClass`, never background.
        probability: Mean NT probability of that class over the nucleus, 0..1.
        contour: Corners (x, y) of the outline through the outermost pixels, of the largest piece where a nucleus is
            in several; one or two points where a nucleus is a pixel or a line.
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
        instances: Labels 1..n without gaps, as `cellvit.hover.decode.segment` gives them.
        nt_prob: Probability of each `NucleusClass`, background first.

    Raises:
        ContractError: The maps do not fit, `nt_prob` is not finite, or labels have gaps.

    Examples:
        >>> table = nucleus_table(np.array([[0, 1, 1], [0, 1, 1]]), np.full((6, 2, 3), 1 / 6))
        >>> table.centroid.tolist(), table.box.tolist(), table.contour[0].tolist()
        ([[0.5, 1.5]], [[0, 1, 2, 3]], [[1, 0], [1, 1], [2, 1], [2, 0]])
    """
    typed = classify(instances, nt_prob)
    n_nuclei = len(typed.classes)
    inside = np.flatnonzero(instances > 0)
    nucleus = instances.reshape(-1)[inside] - 1
    row = inside // instances.shape[1]
    column = inside - row * instances.shape[1]
    area_px = np.bincount(nucleus, minlength=n_nuclei)
    sums = np.stack([np.bincount(nucleus, at, n_nuclei) for at in (row, column)], axis=1)
    boxes = ndimage.find_objects(instances)
    return NucleusTable(
        area_px=area_px,
        centroid=sums / area_px[:, None],
        box=np.array([(y.start, x.start, y.stop, x.stop) for y, x in boxes], np.int64).reshape(-1, 4),
        classes=typed.classes,
        probability=typed.probability,
        contour=tuple(_contour(instances, label, box) for label, box in enumerate(boxes, start=1)),
    )


def _contour(instances: Integer[np.ndarray, "h w"], label: int, box: tuple[slice, slice]) -> Int32[np.ndarray, "k 2"]:
    own = (instances[box] == label).view(np.uint8)
    offset = (box[1].start, box[0].start)
    pieces, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=offset)
    largest = pieces[0] if len(pieces) == 1 else max(pieces, key=lambda piece: (cv2.contourArea(piece), len(piece)))
    contour: Int32[np.ndarray, "k 2"] = largest.reshape(-1, 2)
    return contour
