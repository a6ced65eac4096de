"""Which views of its tiles a feature store holds."""

from dataclasses import dataclass
from typing import Final

from cellvit.data.views import View, views_of
from cellvit.errors import StaleFileError
from cellvit.formats.hdf5 import Rows
from cellvit.inference.blocks import extraction_settings

_VIEWS_AXIS: Final = 1
"""Axis of `tokens` (n, views, blocks, g, g, dim)."""


@dataclass(frozen=True, slots=True)
class StoredViews:
    """The views axis of a feature store.

    Attributes:
        views: Entries of the axis; the first is the identity view in the original colours.
        colour_seed: Seed of the sampled colours; `colour_sigma` is their strength.
    """

    views: tuple[View, ...]
    colour_seed: int = 0
    colour_sigma: float = 0.0

    @property
    def in_own_colours(self) -> dict[int, int]:
        """Geometry by place in the axis, of the views in the original colours; the identity view is the first."""
        return {place: view.geometry for place, view in enumerate(self.views) if not view.colour}


IDENTITY_ONLY: Final = StoredViews((View(0, 0),))
"""Views of a store that holds the identity view alone."""


def stored_views(features: Rows) -> StoredViews:
    """Views of a store, from the settings of its extraction; identity alone if the store names no encoder.

    Raises:
        StaleFileError: The store holds another number of views than its settings name.
    """
    settings = extraction_settings(features)
    if settings is None:
        return IDENTITY_ONLY
    asked, found = settings.features, features.shape("tokens")[_VIEWS_AXIS]
    views = views_of(asked)
    if len(views) != found:
        raise StaleFileError(
            f"{features.path}: the settings name {len(views)} views (features.views={list(asked.views)}, "
            f"features.colour_views={asked.colour_views}), but the tokens are of {found} views. "
            "Fix: snakemake --forcerun extract_features"
        )
    return StoredViews(views, asked.colour_seed, asked.colour_sigma)
