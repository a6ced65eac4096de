"""Training of a HoVer-Net decoder on a family's features."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from tqdm import tqdm

from cellvit.config.models import DecoderSettings, LossSettings, TrainingSettings
from cellvit.config.steps import TrainHovernetSettings
from cellvit.data.batches import (
    DecoderBatch,
    SampledRows,
    decoder_batches,
    sampled_batches,
    sequential_rows,
    shuffled_rows,
)
from cellvit.formats.hdf5 import Store
from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import StateFile
from cellvit.hover.encode import hv_maps
from cellvit.inference.parallel import Workers, workers
from cellvit.inference.stored_views import stored_views
from cellvit.inference.tensors import on_device
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.models.autocast import half_precision
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.augmentation import Augmentation, augmentation_of
from cellvit.training.class_weights import pixel_counts, pixel_weights
from cellvit.training.loop import Means, adamw, train_steps
from cellvit.training.resuming import Changing, train_to_end
from cellvit.training.schedule import rate_at
from cellvit.training.seeding import Stream, generators, seeded
from cellvit.training.selection import Kept
from cellvit.training.validation import NOT_MEASURED, validate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FamilyData:
    """A family's stores, its rows by role, and where in the features the tokens are that the decoder reads."""

    features: Store
    targets: Store
    train: Int[np.ndarray, " r"]
    validate: Int[np.ndarray, " r"]
    taps: tuple[int, ...]


def architecture_of(decoder: DecoderSettings, data: FamilyData) -> dict[str, Any]:
    """Arguments of `HoVerNetDecoder` for these settings on these features."""
    *_, grid, _, dim = data.features.shape("tokens")
    return {
        "dim": dim,
        "taps": len(data.taps),
        "grid": grid,
        "widths": list(decoder.widths),
        "dropout": decoder.dropout,
        "image_stem": decoder.image_stem,
        "stem_widths": list(decoder.stem_widths),
    }


def fit_decoder(
    data: FamilyData,
    settings: TrainHovernetSettings,
    *,
    device: torch.device,
    threads: int = 1,
    states: StateFile | None = None,
) -> Kept:
    """Train a decoder; the epoch of the best validation bPQ is kept, the last one without validation tiles.

    Args:
        data: At least one training tile.
        threads: Processes that segment validation tiles for bPQ.
        states: Where the training goes on from and is kept after each epoch; None keeps it nowhere.

    Raises:
        StaleFileError: `training.views` asks for views that the features do not hold.
        TrainingDivergedError: Loss or gradient is not finite.
    """
    augmentation = augmentation_of(settings.training, stored_views(data.features), data.features.path)
    log.info("tiles train=%d validate=%d device=%s", len(data.train), len(data.validate), device)
    with seeded(settings.seed, device), workers(threads, len(data.validate)) as pool:
        decoder = HoVerNetDecoder(**architecture_of(settings.decoder, data)).to(device)
        loss = _loss(settings.training.loss, data).to(device)
        changing = _changing(decoder, loss, settings, device)
        training = _Training(decoder, loss, data, settings.training, augmentation, changing)
        return train_to_end(
            changing, partial(training.epochs, pool), of=settings.training.epochs, figure="bpq", states=states
        )


@dataclass(frozen=True, slots=True)
class _Training:
    """What a step needs; `changing` holds what it changes."""

    decoder: HoVerNetDecoder
    loss: HoVerNetLoss
    data: FamilyData
    settings: TrainingSettings
    augmentation: Augmentation
    changing: Changing

    def epochs(self, pool: Workers, after: int) -> Iterator[EpochRecord]:
        """Train the epochs that follow `after`; yield each one's record after its validation."""
        settings, n_steps = self.settings, self._n_steps
        order, turns = (self.changing.generators[stream] for stream in (Stream.ORDER, Stream.VIEWS))
        rate_of = partial(rate_at, peak=settings.learning_rate, steps=n_steps * settings.epochs, warmup=settings.warmup)
        for epoch in range(after + 1, settings.epochs + 1):
            started, means, rate = time.perf_counter(), Means(), 0.0
            plan = shuffled_rows(self.data.train, settings.batch_size, order)
            with closing(self._drawn_batches(self.augmentation.drawn(plan, turns))) as batches:
                steps = train_steps(
                    batches,
                    self._parts,
                    self.changing.optimizer,
                    rate_of,
                    max_norm=settings.max_norm,
                    first=(epoch - 1) * n_steps,
                )
                self.decoder.train()
                for step in tqdm(steps, f"epoch {epoch}/{settings.epochs}", n_steps, leave=False, disable=None):
                    means.add(step.parts, step.n)
                    rate = step.rate
            tiles_per_s = len(self.data.train) / (time.perf_counter() - started)
            measures_bpq = epoch % settings.bpq_every == 0 or epoch == settings.epochs
            record = EpochRecord(epoch, rate, means.values(), self._validated(pool if measures_bpq else None))
            _log_epoch(record, settings.epochs, tiles_per_s, time.perf_counter() - started)
            yield record

    @property
    def _n_steps(self) -> int:
        """Steps an epoch, as `shuffled_rows` makes them."""
        return -(-len(self.data.train) // self.settings.batch_size)

    def _drawn_batches(self, plan: list[SampledRows]) -> Generator[DecoderBatch]:
        return sampled_batches(self.data.features, self.data.targets, plan, taps=self.data.taps)

    def _parts(self, batch: DecoderBatch) -> LossParts:
        """Loss of a training batch; HV is computed after the turn, from the turned instances."""
        tensors = on_device(batch, self.changing.device, self.augmentation.stored)
        with half_precision(self.changing.device):
            maps = self.decoder(tensors.tokens, tensors.image if self.decoder.reads_image else None)
        parts: LossParts = self.loss(maps, tensors.instances, tensors.classes, hv_maps(tensors.instances))
        return parts

    def _validated(self, bpq_by: Workers | None) -> dict[str, float]:
        if not len(self.data.validate):
            return dict(NOT_MEASURED)
        plan = sequential_rows(self.data.validate, self.settings.batch_size)
        with closing(decoder_batches(self.data.features, self.data.targets, plan, taps=self.data.taps)) as batches:
            return validate(self.decoder, self.loss, batches, device=self.changing.device, bpq_by=bpq_by)


def _changing(
    decoder: HoVerNetDecoder, loss: HoVerNetLoss, settings: TrainHovernetSettings, device: torch.device
) -> Changing:
    rate, decay = settings.training.learning_rate, settings.training.weight_decay
    return Changing(
        model=decoder,
        others={"loss": loss},
        optimizer=adamw((decoder, loss), learning_rate=rate, weight_decay=decay),
        generators=generators(settings.seed, Stream.ORDER, Stream.VIEWS),
        device=device,
    )


def _loss(settings: LossSettings, data: FamilyData) -> HoVerNetLoss:
    weights = pixel_weights(pixel_counts(data.targets, data.train)) if settings.class_weights else None
    return HoVerNetLoss(
        np_weight=settings.np,
        hv_weight=settings.hv,
        nt_weight=settings.nt,
        hv_regression_weight=settings.hv_regression,
        hv_gradient_weight=settings.hv_gradient,
        hv_magnitude_weight=settings.hv_magnitude,
        regression=settings.regression,
        class_weights=weights,
        weighting=settings.weighting,
    )


def _log_epoch(record: EpochRecord, epochs: int, tiles_per_s: float, seconds: float) -> None:
    """One line: every part of the training loss, and what was measured on validation tiles."""
    figures = {f"train_{name}": value for name, value in record.train.items()}
    figures |= {f"validate_{name}": value for name, value in record.validate.items() if value == value}  # not NaN
    shown = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
    log.info(
        "epoch=%d/%d rate=%.3g %s tiles_per_s=%.2f seconds=%.1f",
        record.epoch,
        epochs,
        record.rate,
        shown,
        tiles_per_s,
        seconds,
    )
