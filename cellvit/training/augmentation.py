"""Augmentation: the view in which a decoder sees each tile, and random changes of its image and of its tokens."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from cellvit.config.models import TrainingSettings
from cellvit.data.batches import SampledRows, SampledViews
from cellvit.data.stain import random_mix
from cellvit.data.views import random_views
from cellvit.errors import StaleFileError
from cellvit.inference.stored_views import StoredViews

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How views and changes are sampled.

    Attributes:
        stored: Views of the feature store.
        n_sampled: Views to sample from, the first ones of the store; 1 samples none.
        rotated: Whether the tokens are then flipped or rotated as a map of vectors.
        image_jitter: Strength of the stain jitter of the image; 0 for none. `image_blur` (pixels) likewise.
        token_noise: Strength of the noise of the tokens; 0 for none.
    """

    stored: StoredViews
    n_sampled: int = 1
    rotated: bool = False
    image_jitter: float = 0.0
    image_blur: float = 0.0
    token_noise: float = 0.0

    def sampled(self, rows: Int[np.ndarray, " b"], rng: np.random.Generator) -> SampledRows:
        """A batch with a view for each of its tiles, all equally likely, and a change of each image."""
        n = len(rows)
        identity = np.zeros(n, np.int64)
        views = SampledViews(
            stored=rng.integers(self.n_sampled, size=n) if self.n_sampled > 1 else identity,
            transforms=random_views(n, rng) if self.rotated else identity,
            stain_mixes=self._mixes(n, rng) if self.image_jitter else None,
            blur_px=rng.uniform(0, self.image_blur, n).astype(np.float32) if self.image_blur else None,
        )
        return SampledRows(rows, views)

    def with_noise(self, tokens: Float[Tensor, "b blocks g g dim"]) -> Float[Tensor, "b blocks g g dim"]:
        """Tokens with Gaussian noise from torch's generator, in proportion to the spread of each over its channels."""
        if not self.token_noise:
            return tokens
        exact = tokens.float()
        return exact + self.token_noise * exact.std(dim=-1, keepdim=True) * torch.randn_like(exact)

    def _mixes(self, n: int, rng: np.random.Generator) -> Float32[np.ndarray, "n 4 3"]:
        return np.stack([random_mix(rng, sigma=self.image_jitter) for _ in range(n)]).astype(np.float32)


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
    rotated = settings.views == "rotated"
    _log_views(len(stored.views), rotated=rotated)
    return Augmentation(
        stored,
        n_sampled=1 if rotated else len(stored.views),
        rotated=rotated,
        image_jitter=settings.image_jitter,
        image_blur=settings.image_blur,
        token_noise=settings.token_noise,
    )


def _log_views(n_stored: int, *, rotated: bool) -> None:
    fix = "features.views=[dihedral8] extracts the tokens of the flipped and rotated tiles"
    if rotated:
        log.info("the stored tokens are rotated as a map of vectors, which is an approximation; %s", fix)
    elif n_stored == 1:
        log.info("no flips and rotations in training, because the features hold the identity view only; %s", fix)
    else:
        log.info("training samples one of %d stored views for each tile at every step", n_stored)
