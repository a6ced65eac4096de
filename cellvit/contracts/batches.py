"""What a decoder trains and predicts on, as arrays on the CPU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Int

from cellvit.contracts.records import TileBatch
from cellvit.errors import ContractError


@dataclass(frozen=True, slots=True)
class DrawnViews:
    """How each tile of a batch is shown to a decoder in training.

    Attributes:
        stored: Place in the store's views axis that the tile's tokens are read from.
        turns: Flip or rotation of tokens, image and truth after that, by number; 0 turns nothing.
    """

    stored: Int[np.ndarray, " b"]
    turns: Int[np.ndarray, " b"]


@dataclass(frozen=True, slots=True)
class DecoderBatch:
    """Token grids of tiles beside their image and truth.

    Attributes:
        tokens: Patch tokens of one view a tile, the taps that the decoder reads.
        tiles: The annotated tiles as they lie, in the same order.
        drawn: The view of each tile's tokens; None where all are of the upright tile.
    """

    tokens: Float16[np.ndarray, "b taps g g dim"]
    tiles: TileBatch
    drawn: DrawnViews | None = None

    def __post_init__(self) -> None:
        if self.tokens.ndim != 5 or len(self.tokens) != len(self.tiles):
            raise ContractError(
                f"decoder batch: tokens must be (b, taps, g, g, dim) for {len(self.tiles)} tiles, "
                f"found {self.tokens.shape}. Features and tiles must come from the same fold or family."
            )

    def __len__(self) -> int:
        return len(self.tiles)
