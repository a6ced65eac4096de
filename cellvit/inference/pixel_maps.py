"""Maps of tiles as probabilities and vectors on the device that computed them, also averaged over views of the tiles."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float32
from torch import Tensor

from cellvit.data.views import apply_view, apply_view_to_vectors, inverse_view
from cellvit.models.hovernet import HoverMaps


class PixelMaps(NamedTuple):
    """Predicted maps of a batch; unlike logits, they can be averaged.

    Attributes:
        np_prob: Probability that a pixel is nuclear.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.
        nt_prob: Probability of the classes of the data set, background first.
    """

    np_prob: Float32[Tensor, "b h w"]
    hv: Float32[Tensor, "b 2 h w"]
    nt_prob: Float32[Tensor, "b c h w"]


@torch.inference_mode()
def pixel_maps(maps: HoverMaps) -> PixelMaps:
    """Probabilities and vectors of the raw output of a decoder."""
    return PixelMaps(maps.np.float().softmax(dim=1)[:, 1], maps.hv.float(), maps.nt.float().softmax(dim=1))


@torch.inference_mode()
def turned_back(maps: PixelMaps, geometry: int) -> PixelMaps:
    """Maps of tiles that were shown in this flip or rotation, as maps of the tiles themselves."""
    back = inverse_view(geometry)
    return PixelMaps(
        apply_view(maps.np_prob, back, axes=(1, 2)),
        apply_view_to_vectors(maps.hv, back),
        apply_view(maps.nt_prob, back, axes=(2, 3)),
    )


@torch.inference_mode()
def mean_of(views: Iterator[PixelMaps]) -> PixelMaps:
    """Mean of the maps of several views of the same tiles, added up one after another; those of one view bit by bit."""
    total, n = next(views), 1
    for maps in views:
        total, n = PixelMaps(*map(torch.add, total, maps)), n + 1
    return PixelMaps(*(values / n for values in total))
