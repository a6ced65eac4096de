"""Augmentation: which view of each tile a decoder sees, sampled again in every epoch."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from cellvit.config.models import TrainingSettings
from cellvit.data.batches import SampledRows, SampledViews
from cellvit.data.views import random_views
from cellvit.errors import StaleFileError
from cellvit.inference.stored_views import StoredViews

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How views are sampled.

    Attributes:
        stored: Views of the feature store.
        n_sampled: Views to sample from, the first ones of the store; 1 samples none.
        rotated: Whether the tokens are then flipped or rotated as a map of vectors.
    """

    stored: StoredViews
    n_sampled: int = 1
    rotated: bool = False

    def sampled(self, plan: Iterable[Int[np.ndarray, " r"]], rng: np.random.Generator) -> list[SampledRows]:
        """Each batch of the plan with a view for each of its tiles; all views are equally likely."""
        return [SampledRows(rows, self._views(len(rows), rng)) for rows in plan]

    def _views(self, n: int, rng: np.random.Generator) -> SampledViews:
        identity = np.zeros(n, np.int64)
        return SampledViews(
            stored=rng.integers(self.n_sampled, size=n) if self.n_sampled > 1 else identity,
            transforms=random_views(n, rng) if self.rotated else identity,
        )


def augmentation_of(settings: TrainingSettings, stored: StoredViews) -> Augmentation:
    """The augmentation that the settings ask for, from the views that the feature store holds.

    Raises:
        StaleFileError: The settings ask for stored views, and the features hold the identity only.
    """
    if not settings.augment:
        return Augmentation(stored)
    if settings.views == "stored" and len(stored.views) == 1:
        raise StaleFileError(
            "training.views=stored needs tokens of other views than the identity, the features hold the identity only. "
            "Fix: set features.views: [dihedral8] and extract the features again, or set training.views: auto"
        )
    if settings.views == "rotated" or (settings.views == "auto" and len(stored.geometries) == 1):
        log.info(
            "the stored tokens are rotated as a map of vectors, which is an approximation; "
            "features.views=[dihedral8] extracts the tokens of the rotated tiles"
        )
        return Augmentation(stored, n_sampled=1 if settings.views == "rotated" else len(stored.views), rotated=True)
    log.info("training samples one of %d stored views for each tile and epoch", len(stored.views))
    return Augmentation(stored, n_sampled=len(stored.views))
