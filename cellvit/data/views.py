"""The eight flips and rotations of a square tile, applied equally to image, tokens and instance map.

In a rotated grid of tokens, each token moves with its patch. For features of the identity view this is an approximation:
a ViT is not equivariant, so that the rotated tokens are only similar to the tokens of the rotated tile. The image stem
and the targets, which are computed after the rotation, are exact.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import cycle
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, Shaped, UInt8
from torch import Tensor

from cellvit.config.encoders import FeaturesSettings
from cellvit.config.views import GEOMETRIES, geometries_named
from cellvit.data.stain import recoloured

_QUARTERS: Final = 4  # quarter turns of a circle; the geometries from this number on start with a flip


class View(NamedTuple):
    """What the encoder is shown of a tile.

    Attributes:
        geometry: Number in `GEOMETRIES`.
        colour: 0 for the original colours; k for the k-th sample of the stain jitter.
    """

    geometry: int
    colour: int


def views_of(features: FeaturesSettings) -> tuple[View, ...]:
    """The views axis of a feature store: geometries in their order, then sampled colours in the same geometries, in turn.

    Examples:
        >>> views_of(FeaturesSettings(views=("identity",), colour_views=1))
        (View(geometry=0, colour=0), View(geometry=0, colour=1))
        >>> views_of(FeaturesSettings(views=("identity", "flip"), colour_views=3))[2:]
        (View(geometry=0, colour=1), View(geometry=4, colour=2), View(geometry=0, colour=3))
    """
    geometries, colours = geometries_named(features.views), range(1, features.colour_views + 1)
    return (
        *(View(geometry, 0) for geometry in geometries),
        *map(View, cycle(geometries), colours),
    )


def named(view: View) -> str:
    """A view in words.

    Examples:
        >>> named(View(4, 0)), named(View(0, 2))
        ('flip', 'colour 2')
    """
    geometry = [GEOMETRIES[view.geometry]] if view.geometry or not view.colour else []
    return ", ".join(geometry + ([f"colour {view.colour}"] if view.colour else []))


def seen(
    images: UInt8[Tensor, "b h w 3"], tile_ids: Sequence[str], view: View, *, seed: int, sigma: float
) -> UInt8[Tensor, "b h w 3"]:
    """Tiles in a view: first recoloured, then flipped and rotated. Colours depend only on seed, tile id and view."""
    coloured = recoloured(images, tile_ids, [view.colour] * len(images), seed=seed, sigma=sigma)
    return apply_view(coloured, view.geometry, axes=(1, 2))


def apply_view(array: Shaped[Tensor, "..."], geometry: int, *, axes: tuple[int, int]) -> Shaped[Tensor, "..."]:
    """`array` flipped and rotated; `axes` are its vertical and its horizontal axis, of equal size.

    Examples:
        >>> apply_view(torch.tensor([[1, 2], [3, 4]]), GEOMETRIES.index("rotate90"), axes=(0, 1)).tolist()
        [[2, 4], [1, 3]]
    """
    flips, quarters = divmod(geometry, _QUARTERS)
    flipped = array.flip(axes[1]) if flips else array
    return torch.rot90(flipped, quarters, axes)


def inverse_view(geometry: int) -> int:
    """The geometry that takes back `geometry`. A flip with a rotation is a reflection, which takes itself back.

    Examples:
        >>> GEOMETRIES[inverse_view(GEOMETRIES.index("rotate90"))], GEOMETRIES[inverse_view(GEOMETRIES.index("flip"))]
        ('rotate270', 'flip')
    """
    return geometry if geometry >= _QUARTERS else -geometry % _QUARTERS


def apply_view_to_vectors(vectors: Float[Tensor, "b 2 h w"], geometry: int) -> Float[Tensor, "b 2 h w"]:
    """A map of vectors (right, down) flipped and rotated: each vector moves with its pixel, and turns as the tile does.

    Examples:
        >>> right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> apply_view_to_vectors(right, GEOMETRIES.index("rotate90")).flatten().tolist()  # now it points up
        [0.0, -1.0]
    """
    if not geometry:
        return vectors
    flips, quarters = divmod(geometry, _QUARTERS)
    right, down = apply_view(vectors, geometry, axes=(2, 3)).unbind(1)
    if flips:
        right = -right
    for _ in range(quarters):  # counterclockwise: what pointed down now points right, and what pointed right, up
        right, down = down, -right
    return torch.stack((right, down), dim=1)


def apply_views(
    batch: Shaped[Tensor, "b ..."], geometries: Int64[Tensor, " b"], *, axes: tuple[int, int]
) -> Shaped[Tensor, "b ..."]:
    """Each entry of a batch in its own geometry, with one gather on the device of both.

    Args:
        axes: The vertical axis and, directly after it, the horizontal one, of equal size; they count the batch axis.
    """
    vertical, horizontal = axes
    side, before, after = batch.shape[vertical], batch.shape[1:vertical], batch.shape[horizontal + 1 :]
    places = index_maps(side, batch.device)[geometries].unsqueeze(1)  # (b, 1, p)
    grids = torch.arange(math.prod(batch.shape[:vertical]), device=batch.device).view(len(batch), math.prod(before), 1)
    rows = batch.reshape(-1, math.prod(after))  # (b * before * p, after): one row for each pixel of each grid
    return rows.index_select(0, (grids * side**2 + places).flatten()).view(batch.shape)


@cache
def index_maps(side: int, device: torch.device) -> Int64[Tensor, "8 p"]:
    """For each geometry, the pixel of a square grid that comes to each place, both row by row."""
    with torch.inference_mode(False):  # a tensor that is made in inference mode could never be used in training
        grid = torch.arange(side**2, device=device).view(side, side)
        return torch.stack([apply_view(grid, number, axes=(0, 1)).flatten() for number in range(len(GEOMETRIES))])


def composed(first: Int[np.ndarray, " b"], then: Int[np.ndarray, " b"]) -> Int64[np.ndarray, " b"]:
    """The geometry that is equal to the geometry `first`, followed by the geometry `then`.

    Examples:
        >>> quarter, half = GEOMETRIES.index("rotate90"), GEOMETRIES.index("rotate180")
        >>> GEOMETRIES[composed(np.array([quarter]), np.array([half]))[0]]
        'rotate270'
    """
    both: Int64[np.ndarray, " b"] = _compositions()[first, then]
    return both


@cache
def _compositions() -> Int64[np.ndarray, "8 8"]:
    """Number of each composition, from what it does to the corners of a square."""
    corners = index_maps(2, torch.device("cpu")).numpy()  # (8, 4)
    both = corners[:, corners]  # entry (a, b): the corners in geometry a, moved by geometry b
    number: Int64[np.ndarray, "8 8"] = (both[:, :, None] == corners).all(axis=-1).argmax(axis=-1)
    return number


def random_views(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A geometry for each of `n` tiles, all equally likely."""
    return rng.integers(len(GEOMETRIES), size=n)
