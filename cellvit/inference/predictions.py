"""What a decoder predicts for tiles, as arrays on the CPU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from cellvit.errors import ContractError
from cellvit.formats.tiles import TileBatch


@dataclass(frozen=True, slots=True)
class MapBatch:
    """Predicted maps of tiles, with the tiles and their ground truth.

    Attributes:
        tiles: The annotated tiles.
        np_prob: Probability that a pixel is nuclear.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.
        nt_prob: Probability of the six classes, background first.
    """

    tiles: TileBatch
    np_prob: Float32[np.ndarray, "b h w"]
    hv: Float32[np.ndarray, "b 2 h w"]
    nt_prob: Float32[np.ndarray, "b 6 h w"]

    def __post_init__(self) -> None:
        b, h, w = self.np_prob.shape
        if self.hv.shape != (b, 2, h, w) or self.nt_prob.shape != (b, 6, h, w) or len(self.tiles) != b:
            raise ContractError(
                f"maps of {len(self.tiles)} tiles: np_prob {self.np_prob.shape}, hv {self.hv.shape} and "
                f"nt_prob {self.nt_prob.shape} do not belong together"
            )

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def most_probable_class(self) -> UInt8[np.ndarray, "b h w"]:
        """`NucleusClass` with the highest NT probability at each pixel."""
        most: UInt8[np.ndarray, "b h w"] = self.nt_prob.argmax(axis=1).astype(np.uint8)
        return most


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Nuclei of one tile.

    Attributes:
        instances: Labels; 0 is background, 1..n without gaps.
        classes: `NucleusClass` of each pixel, one class per nucleus.
        probability: Probability of the class of each nucleus, as `cellvit.hover.classes.TypedNuclei` has it; None for the
            ground truth and for systems that predict no classes.
    """

    instances: Int32[np.ndarray, "h w"]
    classes: UInt8[np.ndarray, "h w"]
    probability: Float32[np.ndarray, " n"] | None = None
