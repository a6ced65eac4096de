"""What a decoder trains and predicts on, as arrays on the CPU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16

from cellvit.contracts.records import TileBatch
from cellvit.errors import ContractError


@dataclass(frozen=True, slots=True)
class DecoderBatch:
    """Token grids of tiles beside their image and truth.

    Attributes:
        tokens: Patch tokens of one view, the taps that the decoder reads.
        tiles: The annotated tiles, in the same order.
    """

    tokens: Float16[np.ndarray, "b taps g g dim"]
    tiles: TileBatch

    def __post_init__(self) -> None:
        if self.tokens.ndim != 5 or len(self.tokens) != len(self.tiles):
            raise ContractError(
                f"decoder batch: tokens must be (b, taps, g, g, dim) for {len(self.tiles)} tiles, "
                f"found {self.tokens.shape}. Features and tiles must come from the same fold or family."
            )

    def __len__(self) -> int:
        return len(self.tiles)
