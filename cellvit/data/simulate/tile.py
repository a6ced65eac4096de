"""One simulated tile: tissue, nuclei, stain and camera -> picture and truth in PanNuke's layout."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int32, UInt8

from cellvit.data.simulate.architecture import Architecture, lay_out
from cellvit.data.simulate.camera import photograph
from cellvit.data.simulate.ground import grow_tissue
from cellvit.data.simulate.organs import PROFILES, Organ
from cellvit.data.simulate.paint import paint_nuclei
from cellvit.data.simulate.population import populate
from cellvit.data.simulate.stain import absorb
from cellvit.errors import ContractError
from cellvit.taxonomy import ORGANS, TILE_PX

MARGIN_PX: Final = 16
"""Canvas around the tile, so that nuclei are cut by its border as a real crop cuts them."""

SMALLEST_PX: Final = 12
"""Pieces of nuclei below this area are not annotated; PanNuke's smallest are about as small."""

ID_GAPS: Final = 4
"""Ids are drawn from this many times as many numbers as there are nuclei: unique, neither contiguous nor sorted."""


@dataclass(frozen=True, slots=True)
class SimulatedTile:
    """One tile as PanNuke stores it, apart from the dtype.

    Attributes:
        image: RGB, 0..255.
        masks: Channels 0 to 4 hold instance ids, unique in the tile and not contiguous; 5 is 1 where no class is.
    """

    organ: str
    image: UInt8[np.ndarray, "256 256 3"]
    masks: Int32[np.ndarray, "256 256 6"]


def simulate_tile(organ: str, rng: np.random.Generator, *, empty: bool = False) -> SimulatedTile:
    """Draw one H&E-like tile of an organ; without any nucleus where `empty`.

    Raises:
        ContractError: The organ is none of PanNuke's.
    """
    if organ not in PROFILES:
        raise ContractError(
            f"organ {organ!r} cannot be simulated: expected one of PanNuke's tissues as types.npy spells them, "
            f"{', '.join(ORGANS)}. Use one of these."
        )
    profile = PROFILES[organ]
    layout = lay_out(_architecture(profile, rng, empty=empty), TILE_PX + 2 * MARGIN_PX, rng)
    nuclei = [] if empty else populate(profile, layout, rng)
    dyes = grow_tissue(profile, layout, nuclei, rng)
    painted = paint_nuclei(dyes[0], dyes[1], nuclei, rng)
    blood = dyes[2] * ~painted.labels.any(0)
    inner = slice(MARGIN_PX, MARGIN_PX + TILE_PX)
    canvas = np.stack([painted.hematoxylin, painted.eosin, blood, dyes[3]])[:, inner, inner]
    image = photograph(absorb(canvas, profile.palette, rng), rng)
    return SimulatedTile(organ, image, _masks(painted.labels[:, inner, inner], rng))


def _architecture(organ: Organ, rng: np.random.Generator, *, empty: bool) -> Architecture:
    """Arrangement of the parenchyma; tiles without nuclei are stroma or empty spaces."""
    if empty:
        return Architecture.AIRSPACES if rng.random() < 0.3 else Architecture.STROMA
    weights = np.array(list(organ.architectures.values()), float)
    return list(organ.architectures)[rng.choice(len(weights), p=weights / weights.sum())]


def _masks(labels: Int32[np.ndarray, "5 256 256"], rng: np.random.Generator) -> Int32[np.ndarray, "256 256 6"]:
    """Channels last, ids with gaps, slivers dropped, background added."""
    areas = np.bincount(labels.ravel())
    ids = rng.choice(np.arange(1, ID_GAPS * len(areas) + 2), len(areas), replace=False).astype(np.int32)
    ids[areas < SMALLEST_PX] = 0
    ids[0] = 0
    classes = ids[labels]
    return np.stack([*classes, ~classes.any(0)], axis=-1).astype(np.int32)
