"""Instance maps on a device -> HV maps, by tables with an entry for each id; the host never waits for a value.

Shapes depend on the shapes of the arguments alone, and all sums are of whole numbers, so that the order in which a device
adds does not matter.
"""

from typing import Final

import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

EXACT_IN_FLOAT32: Final = 2**24
"""float32 holds every integer up to this one."""


def hv_by_tables(instances: Int[Tensor, "b h w"], largest_id: int) -> Float32[Tensor, "b 2 h w"]:
    """HV maps as of `cellvit.hover.encode.hv_maps`, of ids in 0..`largest_id`, which are not checked."""
    _, height, width = instances.shape
    ids = instances.long().flatten(1)  # (b, p); first of all, because torch does not compute with all unsigned types
    pixel = torch.arange(height * width, device=ids.device)
    row = torch.div(pixel, width, rounding_mode="floor")
    area_px = _sums(ids, torch.ones_like(pixel), largest_id)
    exact = torch.float32 if height * width * max(height, width) <= EXACT_IN_FLOAT32 else torch.float64
    maps = [_along(ids, position, area_px, exact) for position in (pixel - row * width, row)]
    hv: Tensor = torch.where(ids.unsqueeze(1) > 0, torch.stack(maps, dim=1), 0).unflatten(2, (height, width))
    return hv


def _along(
    ids: Int64[Tensor, "b p"], position: Int64[Tensor, " p"], area_px: Int64[Tensor, "b k"], exact: torch.dtype
) -> Float32[Tensor, "b p"]:
    """One of the two maps, from the position of each pixel along its axis; background is not 0.

    Args:
        exact: A type that holds every distance.
    """
    # 1. Distances to the centre, times the area, are whole numbers: n * x - sum(x). The first and the last pixel of the
    #    nucleus are farthest from it. At least 1, not 0: on a side without extent, 0 is divided by it.
    total = _sums(ids, position, area_px.shape[1] - 1)
    first, last = (
        torch.full_like(total, start).scatter_reduce(1, ids, position.expand_as(ids), kind)
        for start, kind in ((len(position), "amin"), (0, "amax"))
    )
    before, after = (total - area_px * first).clamp(min=1), (area_px * last - total).clamp(min=1)

    # 2. From the nuclei to their pixels, and the only rounding: divide by the largest distance on the same side.
    distance = area_px.gather(1, ids) * position - total.gather(1, ids)
    farthest = torch.where(distance > 0, after.gather(1, ids), before.gather(1, ids))
    return (distance.to(exact) / farthest.to(exact)).float()


def _sums(ids: Int64[Tensor, "b p"], values: Int64[Tensor, " p"], largest_id: int) -> Int64[Tensor, "b k"]:
    """Sum over the pixels of each id of each tile."""
    table = torch.zeros((len(ids), largest_id + 1), dtype=torch.int64, device=ids.device)
    return table.scatter_add_(1, ids, values.expand_as(ids))
