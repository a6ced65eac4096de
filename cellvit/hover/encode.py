"""Instance map -> HV maps, a target of the decoder, on the device that holds the instance map.

References:
    Graham et al., HoVer-Net, Medical Image Analysis 2019, arXiv 1812.06499. The maps of its program are zero 0.5 to
    1.5 px above and to the left of the centre (docs/decisions 0004 and 0006); these are zero at the centre.
"""

from types import MappingProxyType
from typing import Final, NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64, Integer
from torch import Tensor

from cellvit.errors import ContractError
from cellvit.hover import arrays
from cellvit.hover.arrays import Array

_DENSE_SLOTS: Final = 2**22
"""Up to this many (tile, id) pairs, tables are indexed by id (32 MiB per table); sparser ids are sorted first."""

_EXACT_IN_FLOAT32: Final = 2**24
"""float32 holds every integer up to this one."""

_WIDER: Final = MappingProxyType({torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64})
"""Types that torch can store but not compute with, and a type that holds their values."""


class _Runs(NamedTuple):
    """Consecutive pixels of one id within a row; a tile has about ten times fewer runs than nuclear pixels.

    Attributes:
        start: Row-major index of the first pixel in the whole batch.
        length_px: Number of pixels.
        ids: Instance id, not 0.
    """

    start: Int64[Array, " r"]
    length_px: Int64[Array, " r"]
    ids: Int64[Array, " r"]


class _Distances(NamedTuple):
    """Distance of runs to the centre of mass of their nucleus, times its area, so that all are whole numbers.

    Attributes:
        area_px: Area of the nucleus.
        left: Horizontal distance of the first pixel of the run; it grows by `area_px` per pixel.
        down: Vertical distance of the run.
        farthest: Largest distance in the nucleus to the left, right, top and bottom; 1 if it has no extent there.
    """

    area_px: Float64[Array, " r"]
    left: Float64[Array, " r"]
    down: Float64[Array, " r"]
    farthest: tuple[Float64[Array, " r"], ...]


@overload
def hv_maps(instances: Tensor) -> Tensor: ...


@overload
def hv_maps(instances: np.ndarray) -> np.ndarray: ...


def hv_maps(
    instances: Int[Tensor, "b h w"] | Integer[np.ndarray, "b h w"],
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
    if instances.device.type == "cpu":  # numpy takes half the time of torch there
        return torch.from_numpy(_encode_one_by_one(instances.numpy()))
    n_tiles, height, width = instances.shape
    hv = torch.zeros((n_tiles, 2, height, width), device=instances.device)
    _encode(instances.to(_WIDER.get(instances.dtype, instances.dtype)), hv)
    return hv


def _encode_one_by_one(instances: Integer[np.ndarray, "b h w"]) -> Float32[np.ndarray, "b 2 h w"]:
    """Encode a batch tile by tile: the arrays of one tile fit into the processor's cache."""
    n_tiles, height, width = instances.shape
    hv = np.zeros((n_tiles, 2, height, width), np.float32)
    for place in range(n_tiles):
        _encode(instances[place : place + 1], hv[place : place + 1])
    return hv


def _encode(instances: Integer[Array, "b h w"], hv: Float32[Array, "b 2 h w"]) -> None:
    """Write the maps of a batch into `hv`, which must be 0."""
    # 1. Distances of all runs as whole numbers.
    _, height, width = instances.shape
    tile_px = height * width
    runs = _runs(instances.reshape(-1), width)
    tile = runs.start // tile_px
    distances = _distances(runs, tile, width)

    # 2. Use float32 from here on if it holds every distance exactly: a distance is below area times side.
    exact = "float32" if tile_px * max(height, width) <= _EXACT_IN_FLOAT32 else "float64"
    area_px, left, down, *farthest = (
        arrays.cast(values, exact)
        for values in (distances.area_px, distances.left, distances.down, *distances.farthest)
    )
    to_left, to_right, up, to_bottom = farthest

    # 3. From runs to pixels: the run of each nuclear pixel, and its horizontal distance.
    run = arrays.repeat(arrays.count(runs.start), runs.length_px)
    pixel = arrays.count(run)
    first = runs.length_px.cumsum(0) - runs.length_px  # rank of the run's first pixel among the nuclear pixels
    across = left[run] + area_px[run] * arrays.cast(pixel - first[run], exact)

    # 4. Index of each nuclear pixel in `hv`, which has two planes per tile where `instances` has one.
    plane = pixel + (runs.start + tile * tile_px - first)[run]

    # 5. The only rounding: divide by the largest distance on the same side of the centre. Rows are constant along runs.
    flat = hv.reshape(-1)
    flat[plane] = arrays.cast(across / arrays.where(across > 0, to_right[run], to_left[run]), "float32")
    flat[plane + tile_px] = arrays.cast(down / arrays.where(down > 0, to_bottom, up), "float32")[run]


def _runs(flat: Integer[Array, " n"], width: int) -> _Runs:
    """Runs of nuclear pixels, in ascending order, of the concatenated maps of one width."""
    begins = arrays.changes(flat)
    begins[::width] = True
    start = arrays.nonzero(begins)
    length_px = -start  # plus the start of the next run
    length_px[:-1] += start[1:]
    length_px[-1:] += len(flat)
    ids = arrays.cast(flat[start], "int64")
    nuclear = arrays.nonzero(ids)
    return _Runs(start[nuclear], length_px[nuclear], ids[nuclear])


def _distances(runs: _Runs, tile: Int64[Array, " r"], width: int) -> _Distances:
    row = runs.start // width  # counted through the whole batch: a constant offset does not change distances
    column = runs.start - row * width
    nucleus, n_nuclei = _number(tile, runs.ids)

    # Area n, sum(x) and sum(y) of the nucleus of each run.
    columns = runs.length_px * (2 * column + runs.length_px - 1) // 2  # sum over the run; the product is even
    sums = (runs.length_px, columns, runs.length_px * row)
    area_px, x, y = (arrays.sum_by(nucleus, n_nuclei, terms)[nucleus] for terms in sums)

    # n * (x - mean(x)) = n * x - sum(x); extremes are reached at the ends of runs.
    left, down = area_px * column - x, area_px * row - y
    sides = (-left, left + area_px * (runs.length_px - 1), -down, down)
    # At least 1, not 0: on a side without extent, 0 is divided by it.
    farthest = tuple(arrays.max_by(nucleus, n_nuclei, side, least=1)[nucleus] for side in sides)
    return _Distances(area_px, left, down, farthest)


def _number(tile: Int64[Array, " r"], ids: Int64[Array, " r"]) -> tuple[Int64[Array, " r"], int]:
    """Number of the nucleus of each run, below the returned count; some numbers may be unused."""
    if not len(ids):
        return ids, 0
    low, high = int(ids.min()), int(ids.max())
    if low < 0:
        raise ContractError(f"instance ids must be 0 or more, found {low}. Relabel with cellvit.hover.relabel.relabel.")
    n_slots = (int(tile[-1]) + 1) * (high + 1)
    slot = tile * (high + 1) + ids
    return (slot, n_slots) if n_slots <= _DENSE_SLOTS else arrays.ranks(slot)
