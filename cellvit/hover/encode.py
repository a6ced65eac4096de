"""Instance map -> NP and HV maps, the targets of the decoder, on the device that holds the map."""

from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64, Integer
from torch import Tensor

from cellvit.errors import ContractError

_DENSE_SLOTS: Final = 2**22
"""Up to this many (tile, id) pairs a table is indexed by id (32 MiB a table); sparser ids are sorted first."""


_WIDER: Final = MappingProxyType({torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64})
"""Types that torch stores but hardly computes with, and what holds their values."""


def hv_maps(instances: Int[Tensor, "b h w"]) -> Float32[Tensor, "b 2 h w"]:
    """Distance of each nuclear pixel to its nucleus's centre of mass, in -1..1; background is 0.

    Channel 0 is horizontal (right is positive), channel 1 vertical (down is positive). Each side of the centre is
    divided by its own largest distance in that nucleus, so that a nucleus reaches both -1 and 1; a side without
    extent (a nucleus one pixel wide) is 0. Ids are any non-negative integers, unique in a tile, in any order, with
    gaps; a nucleus may be cut by the border or in pieces.

    As in HoVer-Net (Graham et al. 2019, arXiv 1812.06499), but its program rounds the centre to a pixel and ours
    does not: distances are kept as the integers ``n * x - sum(x)`` until the one division, so that flipping or
    rotating the map and encoding it commute bit for bit.

    Raises:
        ContractError: The map is not (b, h, w), not of integers, or an id is negative.

    Examples:
        >>> hv_maps(torch.tensor([[[0, 9, 9, 9]]]))[0, 0]
        tensor([[ 0., -1.,  0.,  1.]])
    """
    _check_instances(instances)
    n_tiles, height, width = instances.shape
    tile_px = height * width
    flat = instances.to(_WIDER.get(instances.dtype, instances.dtype)).reshape(-1)
    pixel = flat.nonzero().squeeze(1)  # everything below touches nuclear pixels only
    row = pixel // width  # counted through the batch: distances do not care where rows begin
    tile = row // height
    nucleus, n_nuclei = _number(tile, flat.index_select(0, pixel).long())

    ones = torch.ones_like(pixel[:1]).expand(len(pixel))
    area_px = ones.new_zeros(n_nuclei).index_add_(0, nucleus, ones).index_select(0, nucleus)
    hv = torch.zeros(n_tiles * 2 * tile_px, device=instances.device)
    horizontal = pixel + tile * tile_px  # hv has two planes a tile where `pixel` counts one
    hv.scatter_(0, horizontal, _offset(pixel - row * width, nucleus, area_px, n_nuclei))
    hv.scatter_(0, horizontal + tile_px, _offset(row, nucleus, area_px, n_nuclei))
    return hv.view(n_tiles, 2, height, width)


def hv_maps_numpy(instances: Integer[np.ndarray, "*b h w"]) -> Float32[np.ndarray, "*b 2 h w"]:
    """`hv_maps` of one tile (h, w) or of a batch (b, h, w) of NumPy arrays: the same values."""
    tensor = torch.from_numpy(np.array(instances))  # a copy: torch warns about arrays it may not write to
    maps: Float32[np.ndarray, "b 2 h w"] = hv_maps(tensor[None] if tensor.ndim == 2 else tensor).numpy()
    return maps[0] if tensor.ndim == 2 else maps


def np_map(instances: Int[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """True on nuclear pixels."""
    return instances != 0


def _check_instances(instances: Int[Tensor, "b h w"]) -> None:
    if instances.ndim != 3 or instances.is_floating_point() or instances.dtype == torch.bool:
        raise ContractError(
            f"instances must be integers of shape (b, h, w), found {instances.dtype} {tuple(instances.shape)}. "
            "Give one tile as instances[None], and ids rather than a mask."
        )


def _number(tile: Int64[Tensor, " p"], ids: Int64[Tensor, " p"]) -> tuple[Int64[Tensor, " p"], int]:
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


def _offset(
    position: Int64[Tensor, " p"], nucleus: Int64[Tensor, " p"], area_px: Int64[Tensor, " p"], n_nuclei: int
) -> Float32[Tensor, " p"]:
    """Signed distance along one axis to the centre of mass, each side scaled to reach 1."""
    total = position.new_zeros(n_nuclei).index_add_(0, nucleus, position)
    distance = area_px * position - total.index_select(0, nucleus)  # area times the distance: no rounding

    side = 2 * nucleus + (distance > 0)
    reach = position.new_ones(2 * n_nuclei)  # 1, not 0: a side without extent divides 0 by it
    reach.scatter_reduce_(0, side, distance.abs(), "amax")
    return distance.float() / reach.index_select(0, side).float()
