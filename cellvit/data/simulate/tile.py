"""One simulated tile: tissue, nuclei, stain and scanner -> image and ground truth in PanNuke's layout."""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from cellvit.data.simulate.architecture import Architecture, lay_out
from cellvit.data.simulate.ground import grow_tissue
from cellvit.data.simulate.nuclei import populate
from cellvit.data.simulate.organs import PROFILES, Organ
from cellvit.data.simulate.paint import paint_nuclei
from cellvit.data.simulate.scanner import absorb, photograph
from cellvit.errors import ContractError
from cellvit.taxonomy import ORGANS, TILE_PX

MARGIN_PX: Final = 16  # margin of the canvas around the tile, so that the border cuts nuclei as in a real crop
SMALLEST_PX: Final = 12  # smaller pieces of nuclei are not annotated; the smallest of PanNuke have about this area
ID_GAPS: Final = 4  # ids are chosen from this number of candidates for each nucleus: neither contiguous nor sorted


class SimulatedTile(NamedTuple):
    """One tile as in PanNuke, except for the dtype.

    Attributes:
        image: RGB, 0..255.
        masks: Channels 0 to 4 have instance ids, unique in the tile and not contiguous; channel 5 is the background.
    """

    image: UInt8[np.ndarray, "256 256 3"]
    masks: Int32[np.ndarray, "256 256 6"]


def simulate_tile(organ: str, rng: np.random.Generator, *, empty: bool = False) -> SimulatedTile:
    """A random H&E-like tile of an organ; without any nucleus if `empty`.

    Raises:
        ContractError: The organ is not one of PanNuke's.
    """
    if organ not in PROFILES:
        raise ContractError(
            f"organ {organ!r} cannot be simulated: expected an organ as PanNuke's types.npy spells it, one of "
            f"{', '.join(ORGANS)}."
        )
    image, labels = simulate_image(PROFILES[organ], TILE_PX, rng, empty=empty)
    return SimulatedTile(image, _masks(labels, rng))


def simulate_image(
    profile: Organ, side_px: int, rng: np.random.Generator, *, empty: bool = False
) -> tuple[UInt8[np.ndarray, "h h 3"], Int32[np.ndarray, "5 h h"]]:
    """A random H&E-like square image at 0.25 um per pixel, and the labels of its nuclei, one plane for each class."""
    layout = lay_out(choose_architecture(profile, rng, empty=empty), side_px + 2 * MARGIN_PX, rng)
    nuclei = [] if empty else populate(profile, layout, rng)
    dyes, labels = paint_nuclei(grow_tissue(profile, layout, nuclei, rng), nuclei, rng)
    inner = slice(MARGIN_PX, MARGIN_PX + side_px)
    return photograph(absorb(dyes[:, inner, inner], profile, rng), rng), labels[:, inner, inner]


def choose_architecture(organ: Organ, rng: np.random.Generator, *, empty: bool) -> Architecture:
    """Random arrangement of the parenchyma; tiles without nuclei are stroma or airspaces."""
    if empty:
        return Architecture.AIRSPACES if rng.random() < 0.3 else Architecture.STROMA
    weights = np.array(list(organ.architectures.values()), float)
    return list(organ.architectures)[rng.choice(len(weights), p=weights / weights.sum())]


def _masks(labels: Int32[np.ndarray, "5 256 256"], rng: np.random.Generator) -> Int32[np.ndarray, "256 256 6"]:
    """Masks with channels last: ids with gaps, without small pieces, with the background."""
    areas = np.bincount(labels.ravel())
    ids = rng.choice(np.arange(1, ID_GAPS * len(areas) + 2), len(areas), replace=False).astype(np.int32)
    ids[areas < SMALLEST_PX] = 0
    ids[0] = 0
    classes = ids[labels]
    return np.stack([*classes, ~classes.any(0)], axis=-1).astype(np.int32)
