"""Training of OrganHead on CLS tokens."""

import logging
import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from scipy.optimize import minimize_scalar
from torch import Tensor

from cellvit.config.models import OrganHeadSettings
from cellvit.formats.history import ORGAN_HEAD_HISTORY, RoundRecord
from cellvit.formats.training_state import StateFile
from cellvit.metrics.classification import accuracy, balanced_accuracy, confusion
from cellvit.models.device import in_float64
from cellvit.models.organ_head import OrganHead, softmax_of_trained
from cellvit.training.class_weights import organ_weights
from cellvit.training.loop import adamw, averaged, log_round, rate_at, train_steps
from cellvit.training.plan import Plan
from cellvit.training.resuming import SelectedModel, train_to_end
from cellvit.training.seeding import seeded
from cellvit.training.trainable import Trainable, as_arrays, as_tensors

log = logging.getLogger(__name__)

_TEMPERATURES: Final = (0.05, 20.0)
"""Range of temperatures: typical networks have 1 to 3 (Guo et al. 2017); without a limit, a head that is always right on
the validation tiles would get 0."""


@dataclass(frozen=True, slots=True)
class OrganTiles:
    """CLS tokens of tiles, and the organ of each tile: its index in the list of the `n_organs` organs of the data set."""

    cls: Float32[np.ndarray, "n dim"]
    organ: Int64[np.ndarray, " n"]
    n_organs: int

    def __len__(self) -> int:
        return len(self.organ)


class OrganLoss(NamedTuple):
    """Cross-entropy of a batch."""

    total: Float[Tensor, ""]


def fit_organ_head(
    train: OrganTiles,
    validate: OrganTiles,
    settings: OrganHeadSettings,
    *,
    seed: int,
    device: torch.device,
    states: StateFile | None = None,
    stop_after: int | None = None,
) -> SelectedModel:
    """Train OrganHead, select the epoch of the best validation balanced accuracy, and calibrate it on the same tiles.

    Without validation tiles, the last epoch is selected, with a temperature of 1. Organs without training tiles are never
    predicted; their validation tiles count as wrong, and are left out of the temperature.

    Args:
        train: At least one tile.
        states: Where the training resumes from, and where each epoch is stored; None stores nothing.
        stop_after: Steps to take of those that the learning rate is planned for; None takes all.

    Raises:
        TrainingDivergedError: Loss or gradient is not finite.
    """
    with seeded(seed, device):
        head = OrganHead(train.cls.shape[1], settings.hidden, train.n_organs, settings.dropout).to(device)
        head.standardise(torch.from_numpy(train.cls).to(device))
        head.set_trained(torch.from_numpy(_counts(train) > 0).to(device))
        optimizer = adamw((head,), learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)
        trainable = Trainable(head, {}, optimizer, device, seed)
        training = _Training(head, trainable, settings, train, validate, stop_after)
        selected = train_to_end(trainable, training.rounds, metric="balanced_accuracy", states=states)
    head.load_state_dict(as_tensors(selected.weights), strict=True)
    head.eval()
    with torch.inference_mode():
        logits = head(torch.from_numpy(validate.cls).to(device))
    head.temperature.fill_(fit_temperature(logits, validate.organ, head.trained))
    log.info("organ head calibrated temperature=%.3f", head.temperature)
    return replace(selected, weights=as_arrays(head.state_dict()))


def fit_temperature(logits: Float[Tensor, "n k"], truth: Int64[np.ndarray, " n"], trained: Bool[Tensor, " k"]) -> float:
    """Temperature of the smallest negative log-likelihood over the tiles of trained organs; 1 without any.

    References:
        Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.
    """
    organ = torch.from_numpy(truth).to(trained.device)
    counted = trained[organ]
    if not counted.any():
        return 1.0
    logits = in_float64(logits[counted])
    organ, trained = organ[counted].to(logits.device), trained.to(logits.device)

    def likelihood(log_temperature: float) -> float:
        masked = logits.masked_fill(~trained, -torch.inf) / math.exp(log_temperature)
        return float(F.cross_entropy(masked, organ))

    low, high = (math.log(bound) for bound in _TEMPERATURES)
    return math.exp(minimize_scalar(likelihood, bounds=(low, high), method="bounded").x)


@dataclass(frozen=True, slots=True)
class _Training:
    """What a step needs; `trainable` holds what it changes."""

    head: OrganHead
    trainable: Trainable
    settings: OrganHeadSettings
    train: OrganTiles
    validate: OrganTiles
    stop_after: int | None

    def rounds(self, after: int) -> Generator[RoundRecord]:
        """Train the epochs after the first `after` steps, a round each; yield the record of each after its validation."""
        settings, plan = self.settings, self._plan()
        cls, organ = self._tensors(self.train)
        weights = organ_weights(_counts(self.train)).to(cls.device) if settings.class_weights else None
        rate_of = partial(rate_at, peak=settings.learning_rate, steps=plan.n_steps, warmup=0.0)

        def loss_of(rows: np.ndarray) -> OrganLoss:
            batch = torch.from_numpy(rows).to(cls.device)
            return OrganLoss(self._cross_entropy(self.head(cls[batch]), organ[batch], weights))

        batches = (rows for _, rows in plan.batches(after))
        for steps in plan.rounds(after):
            self.head.train()
            taken = train_steps(self.trainable, islice(batches, len(steps)), loss_of, rate_of, first=steps.start)
            rate, means = averaged(taken)
            record = RoundRecord(steps.stop, steps.stop / plan.per_epoch, rate, means, self._validated(weights))
            log_round(record, plan.end)
            yield record

    def _plan(self) -> Plan:
        """Whole epochs, after each of which the head is validated."""
        settings, n = self.settings, len(self.train)
        n_steps = settings.n_steps(n)
        per_epoch = n_steps // settings.epochs
        return Plan(np.arange(n), settings.batch_size, self.trainable.seed, n_steps, per_epoch, self.stop_after)

    def _tensors(self, tiles: OrganTiles) -> tuple[Tensor, Tensor]:
        device = self.trainable.device
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
        predicted = softmax_of_trained(logits, self.head.trained, 1.0).argmax(dim=1).cpu().numpy()
        counts = confusion(self.validate.organ, predicted, self.validate.n_organs)
        return {
            "total": float(self._cross_entropy(logits, organ, weights)),
            "accuracy": accuracy(counts),
            "balanced_accuracy": balanced_accuracy(counts),
        }


def _counts(tiles: OrganTiles) -> Int64[np.ndarray, " k"]:
    """Number of tiles of each organ."""
    return np.bincount(tiles.organ, minlength=tiles.n_organs)
