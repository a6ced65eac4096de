"""Which views of its tiles a feature store holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jaxtyping import UInt8
from torch import Tensor

from cellvit.config.steps import ExtractFeaturesSettings
from cellvit.data.stain import recoloured
from cellvit.data.views import View, views_of
from cellvit.errors import StaleFileError
from cellvit.formats.hdf5 import Rows
from cellvit.inference.blocks import ENCODER_SECTIONS, encoder_record

_VIEWS_AXIS: Final = 1
"""Axis of `tokens` (n, views, blocks, g, g, dim)."""


@dataclass(frozen=True, slots=True)
class StoredViews:
    """The views axis of a feature store.

    Attributes:
        views: Entries of the axis; the first is the upright tile in its own colours.
        colour_seed: Seed of its colour draws; `colour_sigma` is their strength.
    """

    views: tuple[View, ...]
    colour_seed: int = 0
    colour_sigma: float = 0.0

    @property
    def geometries(self) -> frozenset[int]:
        """Flips and rotations that are there."""
        return frozenset(view.geometry for view in self.views)

    def in_colours(
        self, images: UInt8[Tensor, "b h w 3"], tile_ids: Sequence[str], views: Sequence[View]
    ) -> UInt8[Tensor, "b h w 3"]:
        """Upright tiles in the colours that the encoder saw, each in its view."""
        draws = [view.colour for view in views]
        return recoloured(images, tile_ids, draws, seed=self.colour_seed, sigma=self.colour_sigma)


IDENTITY_ONLY: Final = StoredViews((View(0, 0),))
"""Views of a store that holds the tiles as they lie."""


def stored_views(store: Rows) -> StoredViews:
    """Views of a store, from the settings that made it; the upright tile alone where it names no encoder.

    Raises:
        StaleFileError: The store holds another number of views than its settings say.
    """
    record = encoder_record(store)
    if len(record) < len(ENCODER_SECTIONS):
        return IDENTITY_ONLY
    features = ExtractFeaturesSettings.model_validate(record).features
    views, found = views_of(features), store.shape("tokens")[_VIEWS_AXIS]
    if len(views) != found:
        raise StaleFileError(
            f"{store.path}: its settings ask for {len(views)} views (features.views={list(features.views)}, "
            f"features.colour_views={features.colour_views}), its tokens have {found}. "
            "Extract them again:  snakemake --forcerun extract_features"
        )
    return StoredViews(views, features.colour_seed, features.colour_sigma)
