"""Instance map -> HV maps, a target of the decoder, on the device that holds the map."""

from types import MappingProxyType
from typing import Final, NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64, Integer
from torch import Tensor

from cellvit.errors import ContractError
from cellvit.hover import arrays
from cellvit.hover.arrays import Array
from cellvit.hover.runs import Runs, runs_of

_DENSE_SLOTS: Final = 2**22
"""Up to this many (tile, id) pairs a table is indexed by id (32 MiB a table); sparser ids are sorted first."""

_EXACT_IN_FLOAT32: Final = 2**24
"""Every integer up to this one is a float32."""

_WIDER: Final = MappingProxyType({torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64})
"""Types that torch stores but hardly computes with, and what holds their values."""


class _Distances(NamedTuple):
    """Distance of runs to the centre of mass of their nucleus, times its area, so that all are whole numbers.

    Attributes:
        area_px: Pixels of the nucleus.
        left: Horizontal distance of the run's first pixel; from pixel to pixel it grows by `area_px`.
        down: Vertical distance of the run.
        farthest: Largest distance in the nucleus to the left, right, up and down; 1 where it has no extent.
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
    """Distance of each nuclear pixel to its nucleus's centre of mass, in -1..1; background is 0.

    Channel 0 is horizontal (right is positive), channel 1 vertical (down is positive). Each side of the centre is
    divided by its own largest distance in that nucleus, so that a nucleus reaches both -1 and 1; a side without
    extent (a nucleus one pixel wide) is 0. Ids are any non-negative integers, unique in a tile, in any order, with
    gaps; a nucleus may be cut by the border or in pieces. A tensor gives a tensor on its device, an array an array,
    and all give the same bits.

    As in HoVer-Net (Graham et al. 2019, arXiv 1812.06499), but its program's maps are zero 0.5 to 1.5 px up and left
    of the centre (decisions 0004 and 0006) and ours are not: distances are kept as the integers ``n * x - sum(x)``
    until the one division, so that flipping or rotating the map and encoding it commute bit for bit.

    Raises:
        ContractError: The map is not (b, h, w), not of integers, or an id is negative.

    Examples:
        >>> hv_maps(torch.tensor([[[0, 9, 9, 9]]]))[0, 0]
        tensor([[ 0., -1.,  0.,  1.]])
    """
    _check_instances(instances)
    if isinstance(instances, np.ndarray):
        return _encode_one_by_one(instances)
    if instances.device.type == "cpu":  # there numpy takes half of torch's time
        return torch.from_numpy(_encode_one_by_one(instances.numpy()))
    hv = torch.zeros(_shape_of_maps(instances), device=instances.device)
    _encode(instances.to(_WIDER.get(instances.dtype, instances.dtype)), hv)
    return hv


def _check_instances(instances: Int[Tensor, "b h w"] | Integer[np.ndarray, "b h w"]) -> None:
    if instances.ndim != 3 or not arrays.is_integer(instances):
        raise ContractError(
            f"instances must be integers of shape (b, h, w), found {instances.dtype} {tuple(instances.shape)}. "
            "Give one tile as instances[None], and ids rather than a mask."
        )


def _shape_of_maps(instances: Integer[Array, "b h w"]) -> tuple[int, int, int, int]:
    n_tiles, height, width = instances.shape
    return n_tiles, 2, height, width


def _encode_one_by_one(instances: Integer[np.ndarray, "b h w"]) -> Float32[np.ndarray, "b 2 h w"]:
    """Encode a batch tile by tile: what a processor works on then stays in its cache."""
    hv = np.zeros(_shape_of_maps(instances), np.float32)
    for place in range(len(instances)):
        _encode(instances[place : place + 1], hv[place : place + 1])
    return hv


def _encode(instances: Integer[Array, "b h w"], hv: Float32[Array, "b 2 h w"]) -> None:
    """Write the maps of a batch into `hv`, which is zero."""
    _, height, width = instances.shape
    tile_px = height * width
    runs = runs_of(instances.reshape(-1), width)
    tile = runs.start // tile_px
    distances = _distances(runs, tile, width)
    exact = "float32" if tile_px * max(height, width) <= _EXACT_IN_FLOAT32 else "float64"
    area_px, left, down, *farthest = (
        arrays.cast(values, exact)
        for values in (distances.area_px, distances.left, distances.down, *distances.farthest)
    )

    run = arrays.repeat(arrays.count(runs.start), runs.length_px)  # of each nuclear pixel
    pixel = arrays.count(run)
    first = arrays.cumulative(runs.length_px) - runs.length_px  # number of the run's first pixel among the nuclear ones
    across = left[run] + area_px[run] * arrays.cast(pixel - first[run], exact)
    to_left, to_right, up, to_bottom = farthest
    plane = pixel + (runs.start + tile * tile_px - first)[run]  # the maps have two planes a tile, the instances one

    flat = hv.reshape(-1)
    flat[plane] = arrays.cast(across / arrays.where(across > 0, to_right[run], to_left[run]), "float32")
    flat[plane + tile_px] = arrays.cast(down / arrays.where(down > 0, to_bottom, up), "float32")[run]


def _distances(runs: Runs, tile: Int64[Array, " r"], width: int) -> _Distances:
    row = runs.start // width  # counted through the batch: distances do not care where counting begins
    column = runs.start - row * width
    nucleus, n_nuclei = _number(tile, runs.ids)

    columns = runs.length_px * (2 * column + runs.length_px - 1) // 2  # sum over the run; the product is even
    sums = (runs.length_px, columns, runs.length_px * row)
    area_px, x, y = (arrays.sum_by(nucleus, n_nuclei, terms)[nucleus] for terms in sums)
    left, down = area_px * column - x, area_px * row - y
    sides = (-left, left + area_px * (runs.length_px - 1), -down, down)
    # At least 1, not 0: on a side without extent, 0 is divided by it.
    farthest = tuple(arrays.max_by(nucleus, n_nuclei, side, least=1)[nucleus] for side in sides)
    return _Distances(area_px, left, down, farthest)


def _number(tile: Int64[Array, " r"], ids: Int64[Array, " r"]) -> tuple[Int64[Array, " r"], int]:
    """Give every nucleus of the batch a number below the returned count; some numbers may go unused."""
    if not len(ids):
        return ids, 0
    low, high = int(ids.min()), int(ids.max())
    if low < 0:
        raise ContractError(f"instance ids must be 0 or more, found {low}. Relabel with cellvit.hover.relabel.relabel.")
    n_slots = (int(tile[-1]) + 1) * (high + 1)
    slot = tile * (high + 1) + ids
    return (slot, n_slots) if n_slots <= _DENSE_SLOTS else arrays.ranks(slot)
