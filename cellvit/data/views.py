"""The eight flips and rotations of a square tile, applied to image, tokens and instance map alike.

A grid of tokens is turned as a map of vectors: each token moves with its patch. For features that were extracted
from the upright tile this is an approximation. A ViT is not equivariant: position embeddings and patch weights know
which way is up, so that the turned tokens are only close to the tokens of the turned tile. The image stem and the
targets, which are computed after the turn, are exact.
"""

from typing import Final

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

VIEWS: Final = (
    "identity",
    "rotate90",
    "rotate180",
    "rotate270",
    "flip",
    "flip_rotate90",
    "flip_rotate180",
    "flip_rotate270",
)
"""Names of the views by number: a flip from left to right where named, then quarter turns against the clock."""

_TURNS: Final = 4
"""Quarter turns of a circle; views from this number on begin with a flip."""


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
    inner = (axes[0] - 1, axes[1] - 1)
    return torch.stack([apply_view(entry, int(view), axes=inner) for entry, view in zip(batch, views, strict=True)])


def random_views(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A view for each of `n` tiles, all equally likely."""
    return rng.integers(len(VIEWS), size=n)
