"""Training of OrganHead on CLS tokens."""

import logging
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from scipy.optimize import minimize_scalar
from torch import Tensor

from cellvit.config.models import OrganHeadSettings
from cellvit.data.batches import shuffled_rows
from cellvit.formats.history import ORGAN_HEAD_HISTORY, EpochRecord
from cellvit.formats.training_state import StateFile
from cellvit.metrics.classification import accuracy, balanced_accuracy, confusion
from cellvit.models.organ_head import OrganHead, known_softmax
from cellvit.taxonomy import ORGANS
from cellvit.training.class_weights import organ_weights
from cellvit.training.loop import Means, adamw, train_steps
from cellvit.training.resuming import Changing, train_to_end
from cellvit.training.schedule import rate_at
from cellvit.training.seeding import Stream, generators, seeded
from cellvit.training.selection import Kept

log = logging.getLogger(__name__)

_TEMPERATURES: Final = (0.05, 20.0)
"""Range of temperatures; networks have 1 to 3 (Guo et al. 2017), and a perfect one on validation would tend to 0."""


@dataclass(frozen=True, slots=True)
class OrganTiles:
    """CLS tokens of tiles and the number of their organ in `cellvit.taxonomy.ORGANS`.

    Attributes:
        patient: Patient of each tile, for intervals; training does without.
    """

    cls: Float32[np.ndarray, "n dim"]
    organ: Int64[np.ndarray, " n"]
    patient: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.organ)

    def unknown_to(self, others: "OrganTiles") -> dict[str, int]:
        """Tiles by organ, for organs that `others` lack."""
        missing = Counter(ORGANS[number] for number in self.organ[~np.isin(self.organ, others.organ)])
        return dict(sorted(missing.items()))


class FittedOrganHead(NamedTuple):
    """A trained OrganHead (calibrated, on the device that trained) and its history."""

    module: OrganHead
    kept: Kept


class OrganLoss(NamedTuple):
    """Cross-entropy of a batch."""

    total: Float[Tensor, ""]

    def as_floats(self) -> dict[str, float]:
        """The value by name."""
        return {"total": float(self.total.detach())}


def fit_organ_head(
    train: OrganTiles,
    validate: OrganTiles,
    settings: OrganHeadSettings,
    *,
    seed: int,
    device: torch.device,
    states: StateFile | None = None,
) -> FittedOrganHead:
    """Train OrganHead; the epoch of the best balanced accuracy on validation is kept, and calibrated there.

    Without validation tiles the last epoch is kept, with a temperature of 1. Organs without training tiles are never
    predicted; validation tiles of theirs count as wrong, and do not enter the temperature.

    Args:
        train: At least one tile.
        states: Where the training goes on from and is kept after each epoch; None keeps it nowhere.

    Raises:
        TrainingDivergedError: Loss or gradient is not finite.
    """
    with seeded(seed, device):
        head = _untrained(train, settings, device)
        changing = Changing(
            model=head,
            others={},
            optimizer=adamw((head,), learning_rate=settings.learning_rate, weight_decay=settings.weight_decay),
            generators=generators(seed, Stream.ORDER),
            device=device,
        )
        training = _Training(head, train, validate, settings, changing)
        kept = train_to_end(changing, training.epochs, of=settings.epochs, figure="balanced_accuracy", states=states)
    head.load_state_dict(kept.weights, strict=True)
    head.eval()
    head.temperature.fill_(_temperature(head, validate, device))
    log.info("organ head calibrated temperature=%.3f", head.temperature)
    return FittedOrganHead(head, kept)


def fit_temperature(logits: Float[Tensor, "n k"], truth: Int64[np.ndarray, " n"], known: Bool[Tensor, " k"]) -> float:
    """Temperature of the least negative log-likelihood over tiles of known organs; 1 where there are none.

    References:
        Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.
    """
    organ = torch.from_numpy(truth).to(known.device)
    judged = known[organ]
    if not judged.any():
        return 1.0
    logits, organ = logits[judged].double(), organ[judged]

    def likelihood(log_temperature: float) -> float:
        masked = logits.masked_fill(~known, -torch.inf) / math.exp(log_temperature)
        return float(F.cross_entropy(masked, organ))

    low, high = (math.log(bound) for bound in _TEMPERATURES)
    return math.exp(minimize_scalar(likelihood, bounds=(low, high), method="bounded").x)


@dataclass(frozen=True, slots=True)
class _Training:
    """What a step needs; `changing` holds what it changes."""

    head: OrganHead
    train: OrganTiles
    validate: OrganTiles
    settings: OrganHeadSettings
    changing: Changing

    def epochs(self, after: int) -> Iterator[EpochRecord]:
        """Train the epochs that follow `after`; yield each one's record after its validation."""
        settings, n = self.settings, len(self.train)
        cls, organ = self._tensors(self.train)
        weights = organ_weights(_counts(self.train)).to(cls.device) if settings.class_weights else None
        n_steps = -(-n // settings.batch_size)
        rate_of = partial(rate_at, peak=settings.learning_rate, steps=n_steps * settings.epochs, warmup=0.0)

        def loss_of(rows: np.ndarray) -> OrganLoss:
            chosen = torch.from_numpy(rows).to(cls.device)
            return OrganLoss(self._cross_entropy(self.head(cls[chosen]), organ[chosen], weights))

        for epoch in range(after + 1, settings.epochs + 1):
            self.head.train()
            means, rate = Means(), 0.0
            plan = shuffled_rows(np.arange(n), settings.batch_size, self.changing.generators[Stream.ORDER])
            for step in train_steps(plan, loss_of, self.changing.optimizer, rate_of, first=(epoch - 1) * n_steps):
                means.add(step.parts, step.n)
                rate = step.rate
            record = EpochRecord(epoch, rate, means.values(), self._validated(weights))
            _log_epoch(record, settings.epochs)
            yield record

    def _tensors(self, tiles: OrganTiles) -> tuple[Tensor, Tensor]:
        device = self.changing.device
        return torch.from_numpy(tiles.cls).to(device), torch.from_numpy(tiles.organ).to(device)

    def _cross_entropy(self, logits: Tensor, organ: Tensor, weights: Tensor | None) -> Tensor:
        return F.cross_entropy(logits, organ, weight=weights, label_smoothing=self.settings.label_smoothing)

    @torch.inference_mode()
    def _validated(self, weights: Tensor | None) -> dict[str, float]:
        if not len(self.validate):
            return dict.fromkeys(ORGAN_HEAD_HISTORY.validate, math.nan)
        self.head.eval()
        cls, organ = self._tensors(self.validate)
        logits = self.head(cls)
        predicted = known_softmax(logits, self.head.known, 1.0).argmax(dim=1).cpu().numpy()
        counts = confusion(self.validate.organ, predicted, len(ORGANS))
        return {
            "total": float(self._cross_entropy(logits, organ, weights)),
            "accuracy": accuracy(counts),
            "balanced_accuracy": balanced_accuracy(counts),
        }


def _untrained(train: OrganTiles, settings: OrganHeadSettings, device: torch.device) -> OrganHead:
    """A head with random weights that knows the training tokens' mean and spread, and which organs there are."""
    head = OrganHead(train.cls.shape[1], settings.hidden, len(ORGANS), settings.dropout).to(device)
    head.standardise(torch.from_numpy(train.cls).to(device))
    head.learn_only(torch.from_numpy(_counts(train) > 0).to(device))
    return head


def _counts(tiles: OrganTiles) -> Int64[np.ndarray, " k"]:
    """Tiles of each organ."""
    return np.bincount(tiles.organ, minlength=len(ORGANS))


@torch.inference_mode()
def _temperature(head: OrganHead, validate: OrganTiles, device: torch.device) -> float:
    return fit_temperature(head(torch.from_numpy(validate.cls).to(device)), validate.organ, head.known)


def _log_epoch(record: EpochRecord, epochs: int) -> None:
    log.info(
        "epoch=%d/%d rate=%.3g train_total=%.4g validate_total=%.4g validate_accuracy=%.4f "
        "validate_balanced_accuracy=%.4f",
        record.epoch,
        epochs,
        record.rate,
        record.train["total"],
        *(record.validate[name] for name in ORGAN_HEAD_HISTORY.validate),
    )
