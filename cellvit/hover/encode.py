"""Instance map -> HV maps, a target of the decoder, on the device that holds the instance map.

References:
    Graham et al., HoVer-Net, Medical Image Analysis 2019, arXiv 1812.06499. The maps of its program are zero 0.5 to
    1.5 px above and to the left of the centre (docs/decisions 0004 and 0006); these are zero at the centre.
"""

from typing import Final, NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64, Integer
from torch import Tensor

from cellvit.errors import ContractError
from cellvit.hover.encode_tensors import EXACT_IN_FLOAT32, hv_by_tables

_DENSE_SLOTS: Final = 2**22
"""Up to this many ids, tables are indexed by id (32 MiB per table); sparser ids are ranked first."""


class _Runs(NamedTuple):
    """Consecutive pixels of one id within a row; a tile has about ten times fewer runs than nuclear pixels.

    Attributes:
        start: Row-major index of the first pixel in the tile.
        length_px: Number of pixels.
        ids: Instance id, not 0.
    """

    start: Int64[np.ndarray, " r"]
    length_px: Int64[np.ndarray, " r"]
    ids: Int64[np.ndarray, " r"]


class _Distances(NamedTuple):
    """Distance of runs to the centre of mass of their nucleus, times its area, so that all are whole numbers.

    Attributes:
        area_px: Area of the nucleus.
        left: Horizontal distance of the first pixel of the run; it grows by `area_px` per pixel.
        down: Vertical distance of the run.
        farthest: Largest distance in the nucleus to the left, right, top and bottom; 1 if it has no extent there.
    """

    area_px: Float64[np.ndarray, " r"]
    left: Float64[np.ndarray, " r"]
    down: Float64[np.ndarray, " r"]
    farthest: tuple[Float64[np.ndarray, " r"], ...]


@overload
def hv_maps(instances: Tensor, *, largest_id: int | None = None) -> Tensor: ...


@overload
def hv_maps(instances: np.ndarray, *, largest_id: int | None = None) -> np.ndarray: ...


def hv_maps(
    instances: Int[Tensor, "b h w"] | Integer[np.ndarray, "b h w"], *, largest_id: int | None = None
) -> Float32[Tensor, "b 2 h w"] | Float32[np.ndarray, "b 2 h w"]:
    """Distance of each nuclear pixel to the centre of mass of its nucleus, in -1..1; background is 0.

    Channel 0 is horizontal (right is positive), channel 1 vertical (down is positive). Each side of the centre is
    divided by its own largest distance in that nucleus, so that every nucleus reaches both -1 and 1; a side without
    extent (a nucleus one pixel wide) is 0. A nucleus may be cut by the border or consist of several parts.

    The maps of a flipped or rotated tile are exactly the flipped or rotated maps, and numpy and every device give the
    same bits, because distances are the integers ``n * x - sum(x)`` until one final division.

    Args:
        instances: Ids are non-negative integers, unique within a tile, in any order, possibly with gaps; 0 is
            background.
        largest_id: A number that no id exceeds. With it, another device than the CPU computes without waiting for the
            host; without it, the ids are read and checked first. Labels without gaps are at most h * w.

    Returns:
        A tensor on the same device for a tensor, an array for an array.

    Raises:
        ContractError: The map is not (b, h, w), not of integers, or an id is negative.

    Examples:
        >>> hv_maps(torch.tensor([[[0, 9, 9, 9]]]))[0, 0]
        tensor([[ 0., -1.,  0.,  1.]])
    """
    if instances.ndim != 3 or "int" not in str(instances.dtype):  # "uint8", "torch.int32", but not "bool"
        raise ContractError(
            f"instances must be integers of shape (b, h, w), found {instances.dtype} {tuple(instances.shape)}. "
            "Pass one tile as instances[None], and ids instead of a mask."
        )
    if isinstance(instances, np.ndarray):
        return _encode_one_by_one(instances)
    if instances.device.type in {"cpu", "mps"}:  # numpy takes half the time of torch there; mps has no float64
        return torch.from_numpy(_encode_one_by_one(instances.cpu().numpy())).to(instances.device)
    return hv_by_tables(instances, largest_id) if largest_id is not None else hv_of_any_ids(instances)


def hv_of_any_ids(instances: Int[Tensor, "b h w"]) -> Float32[Tensor, "b 2 h w"]:
    """As `hv_maps` of a tensor, by the tables of its device; the host waits for the smallest and the largest id."""
    ids = instances.long()
    low, high = (int(ids.min()), int(ids.max())) if ids.numel() else (0, 0)
    _check_not_negative(low)
    if len(ids) * (high + 1) > _DENSE_SLOTS:
        distinct, rank = torch.unique(ids, return_inverse=True)
        ids, high = rank + (low > 0), len(distinct)  # 0 stays the background, also where there is none
    return hv_by_tables(ids, high)


def _encode_one_by_one(instances: Integer[np.ndarray, "b h w"]) -> Float32[np.ndarray, "b 2 h w"]:
    """Encode a batch tile by tile: the arrays of one tile fit into the processor's cache."""
    n_tiles, height, width = instances.shape
    hv = np.zeros((n_tiles, 2, height, width), np.float32)
    for tile, maps in zip(instances, hv, strict=True):
        _encode(tile, maps)
    return hv


def _encode(instances: Integer[np.ndarray, "h w"], hv: Float32[np.ndarray, "2 h w"]) -> None:
    """Write the maps of a tile into `hv`, which must be 0."""
    # 1. Distances of all runs as whole numbers.
    height, width = instances.shape
    runs = _runs(instances.reshape(-1), width)
    distances = _distances(runs, width)

    # 2. Use float32 from here on if it holds every distance exactly: a distance is below area times side.
    exact = "float32" if height * width * max(height, width) <= EXACT_IN_FLOAT32 else "float64"
    area_px, left, down, *farthest = (
        values.astype(exact) for values in (distances.area_px, distances.left, distances.down, *distances.farthest)
    )
    to_left, to_right, up, to_bottom = farthest

    # 3. From runs to pixels: the run of each nuclear pixel, and its horizontal distance.
    run = np.repeat(np.arange(len(runs.start)), runs.length_px)
    nth = np.arange(len(run))
    first = runs.length_px.cumsum(0) - runs.length_px  # rank of the run's first pixel among the nuclear pixels
    across = left[run] + area_px[run] * (nth - first[run]).astype(exact)
    pixel = nth + (runs.start - first)[run]  # its index in the tile

    # 4. The only rounding: divide by the largest distance on the same side of the centre. Rows are constant along runs.
    horizontal, vertical = hv.reshape(2, -1)
    horizontal[pixel] = across / np.where(across > 0, to_right[run], to_left[run])
    vertical[pixel] = (down / np.where(down > 0, to_bottom, up)).astype(np.float32)[run]


def _runs(flat: Integer[np.ndarray, " n"], width: int) -> _Runs:
    """Runs of nuclear pixels, in ascending order, of a map of this width."""
    begins = np.ones(len(flat), bool)
    begins[1:] = flat[1:] != flat[:-1]
    begins[::width] = True
    start = np.flatnonzero(begins)
    length_px = -start  # plus the start of the next run
    length_px[:-1] += start[1:]
    length_px[-1:] += len(flat)
    ids = flat[start].astype(np.int64)
    nuclear = np.flatnonzero(ids)
    return _Runs(start[nuclear], length_px[nuclear], ids[nuclear])


def _distances(runs: _Runs, width: int) -> _Distances:
    row = runs.start // width
    column = runs.start - row * width
    nucleus, n_nuclei = _number(runs.ids)

    # Area n, sum(x) and sum(y) of the nucleus of each run.
    columns = runs.length_px * (2 * column + runs.length_px - 1) // 2  # sum over the run; the product is even
    sums = (runs.length_px, columns, runs.length_px * row)
    area_px, x, y = (np.bincount(nucleus, terms, n_nuclei)[nucleus] for terms in sums)

    # n * (x - mean(x)) = n * x - sum(x); extremes are reached at the ends of runs.
    left, down = area_px * column - x, area_px * row - y
    sides = (-left, left + area_px * (runs.length_px - 1), -down, down)
    return _Distances(area_px, left, down, tuple(_largest(nucleus, n_nuclei, side)[nucleus] for side in sides))


def _largest(
    nucleus: Int64[np.ndarray, " r"], n_nuclei: int, values: Float64[np.ndarray, " r"]
) -> Float64[np.ndarray, " n"]:
    """Largest value of each nucleus, but at least 1: on a side without extent, 0 is divided by it."""
    largest = np.ones(n_nuclei)
    np.maximum.at(largest, nucleus, values)
    return largest


def _number(ids: Int64[np.ndarray, " r"]) -> tuple[Int64[np.ndarray, " r"], int]:
    """Number of the nucleus of each run, below the returned count; some numbers may be unused."""
    if not len(ids):
        return ids, 0
    _check_not_negative(int(ids.min()))
    n_slots = int(ids.max()) + 1
    if n_slots <= _DENSE_SLOTS:
        return ids, n_slots
    distinct, rank = np.unique(ids, return_inverse=True)
    return rank, len(distinct)


def _check_not_negative(low: int) -> None:
    if low < 0:
        raise ContractError(f"instance ids must be 0 or more, found {low}. Relabel with cellvit.hover.relabel.relabel.")
