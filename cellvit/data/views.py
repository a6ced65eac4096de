"""The eight flips and rotations of a square tile, applied to image, tokens and instance map alike.

A grid of tokens is turned as a map of vectors: each token moves with its patch. For features that were extracted
from the upright tile this is an approximation. A ViT is not equivariant: position embeddings and patch weights know
which way is up, so that the turned tokens are only close to the tokens of the turned tile. The image stem and the
targets, which are computed after the turn, are exact.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from cellvit.config.encoders import FeaturesSettings
from cellvit.config.views import GEOMETRIES, geometries_named
from cellvit.data.stain import recoloured

VIEWS: Final = GEOMETRIES
"""Names of the geometries by number: a flip from left to right where named, then quarter turns against the clock."""

_TURNS: Final = 4
"""Quarter turns of a circle; views from this number on begin with a flip."""


class View(NamedTuple):
    """What the encoder is shown of a tile.

    Attributes:
        geometry: Number in `VIEWS`.
        colour: 0 for the colours as they are; k for the k-th draw of stain jitter.
    """

    geometry: int
    colour: int


def views_of(features: FeaturesSettings) -> tuple[View, ...]:
    """The views axis of a feature store: geometries in their order, then colour draws of the upright tile.

    Examples:
        >>> views_of(FeaturesSettings(views=("identity", "flip"), colour_views=1))
        (View(geometry=0, colour=0), View(geometry=4, colour=0), View(geometry=0, colour=1))
    """
    turned = tuple(View(geometry, 0) for geometry in geometries_named(features.views))
    return turned + tuple(View(0, draw) for draw in range(1, features.colour_views + 1))


def named(view: View) -> str:
    """A view in words.

    Examples:
        >>> named(View(4, 0)), named(View(0, 2))
        ('flip', 'colour 2')
    """
    parts = ([VIEWS[view.geometry]] if view.geometry or not view.colour else []) + (
        [f"colour {view.colour}"] if view.colour else []
    )
    return ", ".join(parts)


def seen(
    images: UInt8[Tensor, "b h w 3"], tile_ids: Sequence[str], view: View, *, seed: int, sigma: float
) -> UInt8[Tensor, "b h w 3"]:
    """Tiles as a view shows them: recoloured, then turned. A tile's colours depend on seed, id and view alone.

    Args:
        seed: features.colour_seed.
        sigma: features.colour_sigma.
    """
    coloured = recoloured(images, tile_ids, [view.colour] * len(images), seed=seed, sigma=sigma)
    return apply_view(coloured, view.geometry, axes=(1, 2))


def apply_view(array: Shaped[Tensor, "..."], view: int, *, axes: tuple[int, int]) -> Shaped[Tensor, "..."]:
    """`array` as seen in `view`; `axes` are its vertical and horizontal axis, of equal size.

    Examples:
        >>> apply_view(torch.tensor([[1, 2], [3, 4]]), VIEWS.index("rotate90"), axes=(0, 1)).tolist()
        [[2, 4], [1, 3]]
    """
    flips, turns = divmod(view, _TURNS)
    flipped = array.flip(axes[1]) if flips else array
    return torch.rot90(flipped, turns, axes)


def apply_views(
    batch: Shaped[Tensor, "b ..."], views: Int[np.ndarray, " b"], *, axes: tuple[int, int]
) -> Shaped[Tensor, "b ..."]:
    """Each entry of a batch in its own view; `axes` count the batch axis."""
    if not views.any():
        return batch
    inner = (axes[0] - 1, axes[1] - 1)
    return torch.stack([apply_view(entry, int(view), axes=inner) for entry, view in zip(batch, views, strict=True)])


def random_views(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A view for each of `n` tiles, all equally likely."""
    return rng.integers(len(VIEWS), size=n)
