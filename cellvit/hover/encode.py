"""Instance map -> HV maps, a target of the decoder, on the device that holds the map."""

from types import MappingProxyType
from typing import Final, NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64, Integer
from torch import Tensor

from cellvit.errors import ContractError

_DENSE_SLOTS: Final = 2**22
"""Up to this many (tile, id) pairs a table is indexed by id (32 MiB a table); sparser ids are sorted first."""


_WIDER: Final = MappingProxyType({torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64})
"""Types that torch stores but hardly computes with, and what holds their values."""


class _Runs(NamedTuple):
    """Nuclear pixels as stretches of one id within a row: exact sums over a nucleus need no other pixels.

    Attributes:
        start: First pixel, counted through the batch.
        length_px: Number of pixels.
        ids: Instance id, not 0.
    """

    start: Int64[Tensor, " r"]
    length_px: Int64[Tensor, " r"]
    ids: Int64[Tensor, " r"]


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
    gaps; a nucleus may be cut by the border or in pieces. A tensor gives a tensor on its device, an array an array.

    As in HoVer-Net (Graham et al. 2019, arXiv 1812.06499), but its program rounds the centre to a pixel and ours
    does not: distances are kept as the integers ``n * x - sum(x)`` until the one division, so that flipping or
    rotating the map and encoding it commute bit for bit.

    Raises:
        ContractError: The map is not (b, h, w), not of integers, or an id is negative.

    Examples:
        >>> hv_maps(torch.tensor([[[0, 9, 9, 9]]]))[0, 0]
        tensor([[ 0., -1.,  0.,  1.]])
    """
    if isinstance(instances, np.ndarray):
        return hv_maps(
            torch.from_numpy(np.array(instances))
        ).numpy()  # a copy: torch warns about arrays it may not write to
    _check_instances(instances)
    n_tiles, height, width = instances.shape
    tile_px = height * width
    runs = _runs(instances.to(_WIDER.get(instances.dtype, instances.dtype)).reshape(-1), width)
    row = runs.start // width  # counted through the batch: distances do not care where counting begins
    column, tile = runs.start - row * width, row // height
    nucleus, n_nuclei = _number(tile, runs.ids)

    area_px = _sum_by(nucleus, n_nuclei, runs.length_px)
    down = area_px * row - _sum_by(nucleus, n_nuclei, runs.length_px * row)
    columns = runs.length_px * (2 * column + runs.length_px - 1) // 2  # sum over the run; the product is even
    left = area_px * column - _sum_by(nucleus, n_nuclei, columns)
    right = left + area_px * (runs.length_px - 1)

    run = torch.repeat_interleave(runs.length_px)  # of each nuclear pixel, as is `step`: pixels from the run's first
    step = torch.arange(len(run), device=run.device) - (runs.length_px.cumsum(0) - runs.length_px).index_select(0, run)
    across = left.index_select(0, run) + area_px.index_select(0, run) * step
    horizontal = (runs.start + tile * tile_px).index_select(0, run) + step  # hv has two planes a tile, the map one
    hv = torch.zeros(n_tiles * 2 * tile_px, device=instances.device)
    hv.scatter_(0, horizontal, _scaled(across, run, _reach(nucleus, n_nuclei, left, right)))
    down_scaled = _scaled(down, torch.arange(len(down), device=down.device), _reach(nucleus, n_nuclei, down, down))
    hv.scatter_(0, horizontal + tile_px, down_scaled.index_select(0, run))
    return hv.view(n_tiles, 2, height, width)


def _check_instances(instances: Int[Tensor, "b h w"]) -> None:
    if instances.ndim != 3 or instances.is_floating_point() or instances.dtype == torch.bool:
        raise ContractError(
            f"instances must be integers of shape (b, h, w), found {instances.dtype} {tuple(instances.shape)}. "
            "Give one tile as instances[None], and ids rather than a mask."
        )


def _runs(flat: Int[Tensor, " n"], width: int) -> _Runs:
    begins = torch.ones(flat.shape, dtype=torch.bool, device=flat.device)
    torch.ne(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    start = begins.nonzero().squeeze(1)
    length_px = torch.diff(start, append=start.new_full((1,), len(flat)))
    ids = flat.index_select(0, start).long()
    nuclear = ids.nonzero().squeeze(1)
    return _Runs(*(values.index_select(0, nuclear) for values in (start, length_px, ids)))


def _number(tile: Int64[Tensor, " r"], ids: Int64[Tensor, " r"]) -> tuple[Int64[Tensor, " r"], int]:
    """Give every nucleus of the batch a number below the returned count; some numbers may go unused."""
    if not len(ids):
        return ids, 0
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0:
        raise ContractError(f"instance ids must be 0 or more, found {low}. Relabel with cellvit.hover.relabel.relabel.")
    n_slots = (int(tile[-1]) + 1) * (high + 1)
    slot = tile * (high + 1) + ids
    if n_slots <= _DENSE_SLOTS:
        return slot, n_slots
    distinct, nucleus = torch.unique(slot, return_inverse=True)
    return nucleus, len(distinct)


def _sum_by(nucleus: Int64[Tensor, " r"], n_nuclei: int, values: Int64[Tensor, " r"]) -> Int64[Tensor, " r"]:
    """Sum of the values of each run's nucleus, given to the run."""
    return values.new_zeros(n_nuclei).index_add_(0, nucleus, values).index_select(0, nucleus)


def _reach(
    nucleus: Int64[Tensor, " r"], n_nuclei: int, low: Int64[Tensor, " r"], high: Int64[Tensor, " r"]
) -> Float32[Tensor, "2*r"]:
    """Largest distance of each run's nucleus, negative side and positive side in turn, from the ends of its runs."""
    ones = low.new_ones(n_nuclei)  # not 0: on a side without extent, 0 is divided by it
    sides = [ones.scatter_reduce(0, nucleus, end, "amax").index_select(0, nucleus) for end in (-low, high)]
    return torch.stack(sides, dim=1).reshape(-1).float()


def _scaled(
    distance: Int64[Tensor, " n"], run: Int64[Tensor, " n"], reach: Float32[Tensor, "2*r"]
) -> Float32[Tensor, " n"]:
    return distance.float() / reach.index_select(0, 2 * run + (distance > 0))
