"""Nuclei of an image or slide as arrays: position, outline, class, measurements, and where they were decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from cellvit.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Outlines of nuclei as closed rings; a nucleus has one outer ring, rarely several parts or holes.

    The ring runs halfway between the centres of the pixels inside and those outside, with corners cut at 45 degrees, so that
    rasterising it by pixel centres gives the same pixels. Coordinates are those of the pixel edges: pixel (0, 0) of the
    image covers 0..1.

    Attributes:
        points: x and y of every corner, in half pixels of the model from the top left corner of the image. The last corner
            of a ring is not its first again.
        ring_starts: First point of each ring, and the number of points at the end.
        ring_nucleus: Position of the nucleus to which each ring belongs, increasing.
        ring_is_hole: True for a ring around a hole; it follows the outer ring that contains it.
    """

    points: Int32[np.ndarray, "p 2"]
    ring_starts: Int64[np.ndarray, " r_plus_1"]
    ring_nucleus: Int64[np.ndarray, " r"]
    ring_is_hole: Bool[np.ndarray, " r"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiTable:
    """Nuclei in the order in which they are written. Positions and lengths are in px of the model.

    Attributes:
        x, y: Centroid, in coordinates of the pixel edges (the centre of the first pixel is 0.5).
        row, column: Tile in whose window the nucleus was decoded.
        owned: True if the centroid lies in the core of that tile.
        cut: True if it touches the border of that window where the image goes on.
        centre_px: Distance of the centroid from the centre of that window.
        nucleus_class: Number of its class, 1 to the number of classes.
        probability: Probability of each class, without background, summing to 1; calibrated where the bundle is.
        area_px: Number of pixels.
        perimeter_px: Length of the outline.
        eccentricity: Of the ellipse with the same second moments, 0..1.
        solidity: Area by the area of the convex hull, 0..1.
        orientation: Direction of the long axis in degrees from the x axis, counter-clockwise as seen, -90..90.
        hematoxylin, eosin: Mean optical density of the stain (`cellvit.data.stain_colours`).
        unlike: True if the tile is unlike the training data.
    """

    x: Float64[np.ndarray, " n"]
    y: Float64[np.ndarray, " n"]
    row: Int32[np.ndarray, " n"]
    column: Int32[np.ndarray, " n"]
    owned: Bool[np.ndarray, " n"]
    cut: Bool[np.ndarray, " n"]
    centre_px: Float32[np.ndarray, " n"]
    nucleus_class: UInt8[np.ndarray, " n"]
    probability: Float32[np.ndarray, "n c"]
    area_px: Int32[np.ndarray, " n"]
    perimeter_px: Float32[np.ndarray, " n"]
    eccentricity: Float32[np.ndarray, " n"]
    solidity: Float32[np.ndarray, " n"]
    orientation: Float32[np.ndarray, " n"]
    hematoxylin: Float32[np.ndarray, " n"]
    eosin: Float32[np.ndarray, " n"]
    unlike: Bool[np.ndarray, " n"]
    outlines: Outlines

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.columns().items()}
        if len(set(lengths.values())) != 1:
            raise ContractError(f"nuclei: expected columns of one length, found {lengths}")

    def __len__(self) -> int:
        return len(self.x)

    def columns(self) -> dict[str, np.ndarray]:
        """Everything but the outlines, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "outlines"}

    def at(self, rows: Int64[np.ndarray, " k"] | Bool[np.ndarray, " n"]) -> Self:
        """The nuclei at these positions, in this order, or where this is true."""
        places = np.flatnonzero(rows) if rows.dtype == bool else rows
        columns = {name: values[places] for name, values in self.columns().items()}
        return type(self)(**columns, outlines=_outlines_at(self.outlines, places, len(self)))

    @classmethod
    def concatenated(cls, tables: Sequence[Self]) -> Self:
        """The nuclei of all tables (one or more), in order."""
        columns = [table.columns() for table in tables]
        joined = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
        return cls(**joined, outlines=_outlines_joined(tables))

    @classmethod
    def none(cls, n_classes: int) -> Self:
        """No nuclei of a data set with this number of classes."""
        kinds = {"x": "f8", "y": "f8", "row": "i4", "column": "i4", "area_px": "i4", "nucleus_class": "u1"}
        columns = {
            field.name: np.empty(0, kinds.get(field.name, "?" if field.name in ("owned", "cut", "unlike") else "f4"))
            for field in fields(cls)
            if field.name != "outlines"
        }
        columns["probability"] = np.empty((0, n_classes), np.float32)
        return cls(**columns, outlines=no_outlines())


def no_outlines() -> Outlines:
    """Outlines of no nucleus."""
    return Outlines(
        points=np.empty((0, 2), np.int32),
        ring_starts=np.zeros(1, np.int64),
        ring_nucleus=np.empty(0, np.int64),
        ring_is_hole=np.empty(0, bool),
    )


def _outlines_at(outlines: Outlines, places: Int64[np.ndarray, " k"], n_nuclei: int) -> Outlines:
    bounds = np.searchsorted(outlines.ring_nucleus, np.arange(n_nuclei + 1))
    firsts, counts = bounds[places], bounds[places + 1] - bounds[places]
    rings = _ranges(firsts, counts)
    sizes = np.diff(outlines.ring_starts)[rings]
    points = outlines.points[_ranges(outlines.ring_starts[rings], sizes)]
    return Outlines(
        points=points,
        ring_starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        ring_nucleus=np.repeat(np.arange(len(places)), counts),
        ring_is_hole=outlines.ring_is_hole[rings],
    )


def _outlines_joined(tables: Sequence[NucleiTable]) -> Outlines:
    parts = [table.outlines for table in tables]
    nuclei = np.cumsum([0, *(len(table) for table in tables)])
    points = np.cumsum([0, *(len(part.points) for part in parts)])
    starts = [part.ring_starts[:-1] + before for part, before in zip(parts, points[:-1], strict=True)]
    return Outlines(
        points=np.concatenate([part.points for part in parts]),
        ring_starts=np.concatenate([*starts, points[-1:]]).astype(np.int64),
        ring_nucleus=np.concatenate([p.ring_nucleus + n for p, n in zip(parts, nuclei[:-1], strict=True)]),
        ring_is_hole=np.concatenate([part.ring_is_hole for part in parts]),
    )


def _ranges(firsts: Int64[np.ndarray, " k"], counts: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " m"]:
    """All integers of the ranges first .. first + count, one range after another."""
    before = np.repeat(np.cumsum(counts) - counts, counts)
    found: Int64[np.ndarray, " m"] = np.arange(counts.sum()) - before + np.repeat(firsts, counts)
    return found
