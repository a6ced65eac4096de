"""CLS tokens of the tiles of several families, each tile once: the shared decoder has the tiles of all. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from cellvit.evaluation.novelty import Tokens
from cellvit.formats.family import FamilyData
from cellvit.inference.cls_tokens import read_cls


@dataclass(frozen=True, slots=True)
class TileToken:
    """CLS token (d) of one tile, and its organ."""

    cls: Float32[np.ndarray, " d"]
    organ: str


def tokens_by_tile(data: FamilyData, rows: Int[np.ndarray, " r"]) -> dict[str, TileToken]:
    """Tokens of the tiles at `rows`, by tile id."""
    tiles = map(TileToken, read_cls(data.features, rows), data.tiles.names("organ", rows))
    return dict(zip(data.tiles.names("tile_id", rows), tiles, strict=True))


def joined(found: Mapping[str, TileToken]) -> Tokens:
    """The tokens in the order of their tile ids, whichever family named them first."""
    tiles = [found[tile_id] for tile_id in sorted(found)]
    cls = np.stack([tile.cls for tile in tiles]) if tiles else np.empty((0, 0), np.float32)
    return Tokens(cls, tuple(tile.organ for tile in tiles))
