"""Stain augmentation of H&E tiles (HED jitter), for stored views by the seed and the tile, in training by a generator.

References:
    Ruifrok and Johnston 2001, Quantification of histochemical staining by color deconvolution: stains from colours.
    Tellez et al. 2018, arXiv 1808.05896, and 2019, arXiv 1902.06543: each stain is scaled and shifted at random.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from cellvit.data.stain_colours import COLOURS_OF_STAINS, WHITE

_TISSUE_OD: Final = 0.15
"""Mean optical density (base 10) from which a pixel is stained (Macenko et al. 2009). Below it, the shift of the stains
decreases with the square of the density, so that background keeps its colour; Tellez et al. shift all pixels alike."""


def recoloured(
    images: UInt8[Tensor, "b h w 3"], tile_ids: Sequence[str], colours: Sequence[int], *, seed: int, sigma: float
) -> UInt8[Tensor, "b h w 3"]:
    """Tiles in sampled colours; colour 0 leaves a tile unchanged.

    All arithmetic is by pixel, so that the result for a tile does not depend on the batch.

    Args:
        colours: Number of the sample for each tile.
        sigma: Each stain is scaled by U(1 - sigma, 1 + sigma) and shifted by U(-sigma, sigma) in optical density, base 10.
    """
    chosen = [place for place, colour in enumerate(colours) if colour]
    if not chosen:
        return images
    mixes = stain_mixes(
        [tile_ids[place] for place in chosen], [colours[place] for place in chosen], seed=seed, sigma=sigma
    )
    coloured = images.clone()
    coloured[chosen] = mixed(images[chosen], torch.from_numpy(mixes).to(images.device))
    return coloured


def stain_mixes(
    tile_ids: Sequence[str], colours: Sequence[int], *, seed: int, sigma: float
) -> Float32[np.ndarray, "k 4 3"]:
    """`stain_mix` of each of some tiles, at least one, as `mixed` takes them."""
    mixes = [stain_mix(*one, seed=seed, sigma=sigma) for one in zip(tile_ids, colours, strict=True)]
    return np.stack(mixes).astype(np.float32)


def stain_mix(tile_id: str, colour: int, *, seed: int, sigma: float) -> Float64[np.ndarray, "4 3"]:
    """Change of the optical density of a tile by a sampled colour: new = old @ mix[:3] + mix[3]."""
    digest = hashlib.sha256(f"{seed} {colour} {tile_id}".encode()).digest()
    return random_mix(np.random.default_rng(int.from_bytes(digest)), sigma=sigma)


def random_mix(rng: np.random.Generator, *, sigma: float) -> Float64[np.ndarray, "4 3"]:
    """A random change of the optical density, as of `stain_mix`; `sigma` as in `recoloured`."""
    scale = rng.uniform(1 - sigma, 1 + sigma, 3)
    shift = rng.uniform(-sigma, sigma, 3)
    stains_of_colours = np.linalg.inv(COLOURS_OF_STAINS)
    return np.vstack([stains_of_colours @ np.diag(scale) @ COLOURS_OF_STAINS, shift @ COLOURS_OF_STAINS])


def mixed(images: UInt8[Tensor, "b h w 3"], mix: Float32[Tensor, "b 4 3"]) -> UInt8[Tensor, "b h w 3"]:
    """Tiles with the optical density of each changed by its own mix, as of `stain_mix`."""
    density = -(images.clamp(min=1).float() / WHITE).log10()
    stained = (density.mean(dim=3, keepdim=True) / _TISSUE_OD).clamp(max=1).square()
    terms = torch.cat((density, stained), dim=3)
    mixed = torch.zeros_like(density)
    for k in range(terms.shape[3]):  # not a matrix product, whose rounding may depend on the batch
        mixed += terms[..., k : k + 1] * mix[:, None, None, k]
    return (WHITE * torch.pow(10, -mixed)).round().clamp(0, WHITE).to(torch.uint8)
