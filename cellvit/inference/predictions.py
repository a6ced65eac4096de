"""What a decoder predicts for tiles, as arrays on the CPU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from cellvit.errors import ContractError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.tiles import TileBatch
from cellvit.hover.relabel import relabel
from cellvit.metrics.annotated import within


@dataclass(frozen=True, slots=True)
class MapBatch:
    """Predicted maps of tiles, with the tiles and their ground truth.

    Attributes:
        tiles: The annotated tiles.
        np_prob: Probability that a pixel is nuclear.
        hv: Horizontal (right +) and vertical (down +) distance to the centre of mass, about -1..1.
        nt_prob: Probability of the classes of the data set, background first.
    """

    tiles: TileBatch
    np_prob: Float32[np.ndarray, "b h w"]
    hv: Float32[np.ndarray, "b 2 h w"]
    nt_prob: Float32[np.ndarray, "b c h w"]

    def __post_init__(self) -> None:
        b, h, w = self.np_prob.shape
        channels = self.tiles.dataset.n_classes + 1
        if self.hv.shape != (b, 2, h, w) or self.nt_prob.shape != (b, channels, h, w) or len(self.tiles) != b:
            raise ContractError(
                f"maps of {len(self.tiles)} tiles with {channels} classes: np_prob {self.np_prob.shape}, hv {self.hv.shape} and "
                f"nt_prob {self.nt_prob.shape} do not belong together"
            )

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def most_probable_class(self) -> UInt8[np.ndarray, "b h w"]:
        """Class with the highest NT probability at each pixel."""
        most: UInt8[np.ndarray, "b h w"] = self.nt_prob.argmax(axis=1).astype(np.uint8)
        return most


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Nuclei of one tile.

    Attributes:
        instances: Labels; 0 is background, 1..n without gaps.
        classes: Number of the class of each pixel, one class per nucleus; `NOT_ANNOTATED` where a ground truth is unknown.
        probability: Probability of the class of each nucleus, as `cellvit.hover.classes.TypedNuclei` has it; None for the
            ground truth and for systems that predict no classes.
    """

    instances: Int32[np.ndarray, "h w"]
    classes: UInt8[np.ndarray, "h w"]
    probability: Float32[np.ndarray, " n"] | None = None

    @property
    def annotated(self) -> Bool[np.ndarray, "h w"]:
        """Pixels of a ground truth that count."""
        annotated: Bool[np.ndarray, "h w"] = self.classes != NOT_ANNOTATED
        return annotated

    def within(self, annotated: Bool[np.ndarray, "h w"]) -> "Segmentation":
        """The part of a prediction that counts where `annotated` is true (`cellvit.metrics.annotated.within`)."""
        left = within(self.instances, annotated)
        if left is self.instances:
            return self
        labels = np.unique(left[left > 0])
        probability = None if self.probability is None else self.probability[labels - 1]
        return Segmentation(relabel(left), np.where(left > 0, self.classes, np.uint8(0)), probability)
