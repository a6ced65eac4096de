"""Which view of each tile a decoder sees, drawn anew every epoch."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
    """How views are drawn.

    Attributes:
        stored: Views of the feature store.
        n_drawn: Views that are drawn from, the first ones of the store; 1 draws none.
        turned: Whether tokens are turned as a map of vectors after that.
    """

    stored: StoredViews
    n_drawn: int = 1
    turned: bool = False

    def drawn(self, plan: Iterable[Int[np.ndarray, " r"]], rng: np.random.Generator) -> list[SampledRows]:
        """Each batch of the plan with a view for each of its tiles, all equally likely."""
        return [SampledRows(rows, self._views(len(rows), rng)) for rows in plan]

    def _views(self, n: int, rng: np.random.Generator) -> SampledViews:
        none = np.zeros(n, np.int64)
        return SampledViews(
            stored=rng.integers(self.n_drawn, size=n) if self.n_drawn > 1 else none,
            turns=random_views(n, rng) if self.turned else none,
        )


def augmentation_of(settings: TrainingSettings, stored: StoredViews, path: Path) -> Augmentation:
    """What the settings ask for, with what the feature store at `path` holds.

    Raises:
        StaleFileError: The settings ask for stored views and the store has only the upright tile.
    """
    if not settings.augment:
        return Augmentation(stored)
    if settings.views == "stored" and len(stored.views) == 1:
        raise StaleFileError(
            f"{path}: training.views=stored asks for tokens of other views than identity, the file has only identity. "
            'Extract them:  snakemake --config \'features={"views": ["dihedral8"]}\' or set training.views: auto'
        )
    if settings.views == "turned" or (settings.views == "auto" and len(stored.geometries) == 1):
        log.info(
            "cached tokens of the upright tile are turned as a map of vectors: an approximation. "
            "features.views=[dihedral8] extracts the tokens of the turned tiles"
        )
        return Augmentation(stored, n_drawn=1 if settings.views == "turned" else len(stored.views), turned=True)
    log.info("training draws one of %d stored views for each tile and epoch", len(stored.views))
    return Augmentation(stored, n_drawn=len(stored.views))
