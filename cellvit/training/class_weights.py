"""Weights of classes and organs that compensate for their imbalance."""

from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

from cellvit.formats.hdf5 import Rows

MOST_TO_LEAST: Final = 10.0
"""Largest ratio of two pixel weights. In PanNuke, dead nuclei have 0.2 % as many pixels as the background, which is a
ratio of 20 by the square root; without a limit they would dominate the loss of a batch."""

_BLOCK_TILES: Final = 64
"""Tiles whose class maps are in memory at the same time: 4 MB."""


def pixel_counts(tiles: Rows, rows: Int[np.ndarray, " r"]) -> Int64[np.ndarray, " c"]:
    """Number of annotated pixels of each class, background first, in the tiles at `rows`."""
    counts = np.zeros(tiles.dataset.n_classes + 1, np.int64)
    for start in range(0, len(rows), _BLOCK_TILES):
        classes = tiles.read("classes", rows[start : start + _BLOCK_TILES])
        counts += np.bincount(classes.ravel(), minlength=len(counts))[: len(counts)]  # the others are not annotated
    return counts


def pixel_weights(counts: Int64[np.ndarray, " c"]) -> Float32[Tensor, " c"]:
    """Inverse square roots of the class frequencies, background included, with a mean of 1.

    The square root is a compromise between equal weights, which ignore rare classes, and inverse frequencies, with which
    a single dead nucleus counts more than a tile. Ratios are limited to `MOST_TO_LEAST`. A class without training pixels
    gets the weight of the rarest other class, so that it counts in the validation loss.

    Examples:
        >>> pixel_weights(np.array([400, 100, 100, 100, 0, 100])).numpy().round(2)
        array([0.55, 1.09, 1.09, 1.09, 1.09, 1.09], dtype=float32)
    """
    present = counts[counts > 0]
    if not present.size:
        return torch.ones(len(counts))
    filled = np.where(counts > 0, counts, present.min())
    raw = np.minimum(np.sqrt(filled.max() / filled), MOST_TO_LEAST)
    return torch.from_numpy((raw / raw.mean()).astype(np.float32))


def organ_weights(counts: Int64[np.ndarray, " k"]) -> Float32[Tensor, " k"]:
    """Inverse frequencies of the organs, with a mean of 1 over the training tiles; 0 for organs without tiles.

    Examples:
        >>> organ_weights(np.array([3, 1, 0])).numpy().round(2)
        array([0.67, 2.  , 0.  ], dtype=float32)
    """
    present = counts > 0
    raw = np.where(present, counts.sum() / np.maximum(counts, 1) / max(present.sum(), 1), 0)
    return torch.from_numpy(raw.astype(np.float32))
