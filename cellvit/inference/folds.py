"""All tiles of several folds as one store of tiles and one of features."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellvit.errors import StaleFileError
from cellvit.formats.features import check_extracted_from, open_features
from cellvit.formats.hdf5 import Selection
from cellvit.formats.tiles import open_tiles
from cellvit.inference.blocks import encoder_record


@dataclass(frozen=True, slots=True)
class FoldData:
    """Tiles and their features: row i is the same tile in both."""

    tiles: Selection
    features: Selection

    @property
    def rows(self) -> np.ndarray:
        """All row numbers."""
        return np.arange(len(self.tiles))


@contextmanager
def open_folds(tiles: Sequence[Path], features: Sequence[Path]) -> Iterator[FoldData]:
    """Open the stores of several folds, one path per fold in each list.

    Raises:
        StaleFileError: Features were extracted from other tiles, or with other settings than those of the first fold.
    """
    with ExitStack() as stack:
        tile_stores = [stack.enter_context(open_tiles(path)) for path in tiles]
        feature_stores = [stack.enter_context(open_features(path)) for path in features]
        for tile_store, feature_store in zip(tile_stores, feature_stores, strict=True):
            check_extracted_from(tile_store, feature_store)
            if encoder_record(feature_store) != encoder_record(feature_stores[0]):
                raise StaleFileError(
                    f"{feature_store.path} was extracted with other settings than {features[0]}. "
                    "Fix: snakemake --forcerun extract_features"
                )
        rows = [np.arange(len(store)) for store in tile_stores]
        yield FoldData(Selection(tiles[0], tile_stores, rows), Selection(features[0], feature_stores, rows))
