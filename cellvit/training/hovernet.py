"""Training of a HoVer-Net decoder on the features of a family."""

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from tqdm import tqdm

from cellvit.config.evaluation import SelectionSettings
from cellvit.config.models import DecoderSettings, LossSettings, TrainingSettings
from cellvit.config.steps import TrainHovernetSettings
from cellvit.data.batches import DecoderBatch, decoder_batches, sampled_batches, sequential_rows, shuffled_rows
from cellvit.formats.family import FamilyData
from cellvit.formats.hdf5 import Rows
from cellvit.formats.history import EpochRecord
from cellvit.formats.training_state import StateFile
from cellvit.hover.encode import hv_maps
from cellvit.inference.blocks import block_positions, stored_blocks
from cellvit.inference.parallel import Workers, workers
from cellvit.inference.stored_views import stored_views
from cellvit.inference.tensors import on_device
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.models.device import half_precision
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.augmentation import Augmentation, augmentation_of
from cellvit.training.class_weights import pixel_counts, pixel_weights
from cellvit.training.loop import adamw, averaged, log_epoch, rate_at, train_steps
from cellvit.training.resuming import SelectedModel, Trainable, train_to_end
from cellvit.training.seeding import Stream, generators, seeded
from cellvit.training.validation import validate

log = logging.getLogger(__name__)


class RowsByRole(NamedTuple):
    """Row numbers of the tiles that train, and of those that select the epoch."""

    train: Int[np.ndarray, " r"]
    validate: Int[np.ndarray, " r"]


def blocks_read(decoder: DecoderSettings, features: Rows) -> tuple[int, ...]:
    """Blocks of the encoder whose tokens the decoder reads."""
    return decoder.blocks or stored_blocks(features)


def architecture_of(decoder: DecoderSettings, features: Rows) -> dict[str, Any]:
    """Arguments of `HoVerNetDecoder` for these settings and features."""
    *_, grid, _, dim = features.shape("tokens")
    return {
        "dim": dim,
        "blocks": len(blocks_read(decoder, features)),
        "grid": grid,
        "widths": list(decoder.widths),
        "dropout": decoder.dropout,
        "image_stem": decoder.image_stem,
        "stem_widths": list(decoder.stem_widths),
    }


def fit_decoder(
    data: FamilyData,
    rows: RowsByRole,
    settings: TrainHovernetSettings,
    *,
    device: torch.device,
    threads: int = 1,
    states: StateFile | None = None,
) -> SelectedModel:
    """Train a decoder; select the epoch of the best validation metric, or the last one without validation tiles.

    Args:
        rows: At least one training tile.
        threads: Processes that segment the validation tiles for bPQ.
        states: Where the training resumes from, and where each epoch is stored; None stores nothing.

    Raises:
        StaleFileError: The features do not hold the blocks or views that the settings ask for.
        TrainingDivergedError: Loss or gradient is not finite.
    """
    log.info("tiles train=%d validate=%d device=%s", len(rows.train), len(rows.validate), device)
    options = settings.training
    augmentation = augmentation_of(options, stored_views(data.features))
    blocks = block_positions(data.features, blocks_read(settings.decoder, data.features))
    with seeded(settings.seed, device), workers(threads, len(rows.validate)) as pool:
        decoder = HoVerNetDecoder(**architecture_of(settings.decoder, data.features)).to(device)
        loss = _loss(options.loss, data.tiles, rows.train).to(device)
        optimizer = adamw((decoder, loss), learning_rate=options.learning_rate, weight_decay=options.weight_decay)
        trainable = Trainable(decoder, {"loss": loss}, optimizer, generators(settings.seed), device)
        training = _Training(decoder, loss, trainable, options, data, rows, blocks, augmentation, settings.selection)
        metric = settings.selection.select_by
        return train_to_end(trainable, partial(training.epochs, pool), metric=metric, states=states)


@dataclass(frozen=True, slots=True)
class _Training:
    """What a step needs; `trainable` holds what it changes.

    Attributes:
        blocks: Positions in the features of the tokens that the decoder reads.
    """

    decoder: HoVerNetDecoder
    loss: HoVerNetLoss
    trainable: Trainable
    settings: TrainingSettings
    data: FamilyData
    rows: RowsByRole
    blocks: tuple[int, ...]
    augmentation: Augmentation
    selection: SelectionSettings

    def epochs(self, pool: Workers, after: int) -> Iterator[EpochRecord]:
        """Train the epochs after number `after`; yield the record of each after its validation."""
        epochs, bpq_every = self.settings.epochs, self.settings.bpq_every
        for epoch in range(after + 1, epochs + 1):
            started = time.perf_counter()
            rate, means = self._trained(epoch)
            tiles_per_s = len(self.rows.train) / (time.perf_counter() - started)
            measures_bpq = epoch % bpq_every == 0 or epoch == epochs
            record = EpochRecord(epoch, rate, means, self._validated(pool if measures_bpq else None))
            log_epoch(record, epochs, tiles_per_s=tiles_per_s, seconds=time.perf_counter() - started)
            yield record

    def _trained(self, epoch: int) -> tuple[float, dict[str, float]]:
        """Train one epoch; return the last learning rate and the mean of each part of the loss."""
        settings, random = self.settings, self.trainable.generators
        plan = shuffled_rows(self.rows.train, settings.batch_size, random[Stream.ORDER])
        sampled, n = self.augmentation.sampled(plan, random[Stream.VIEWS]), len(plan)
        rate_of = partial(rate_at, peak=settings.learning_rate, steps=n * settings.epochs, warmup=settings.warmup)
        stores = self.data.features, self.data.tiles
        self.decoder.train()
        with closing(sampled_batches(*stores, sampled, blocks=self.blocks)) as batches:
            steps = train_steps(
                batches,
                self._parts,
                self.trainable.optimizer,
                rate_of,
                max_norm=settings.max_norm,
                first=(epoch - 1) * n,
            )
            return averaged(tqdm(steps, f"epoch {epoch}/{settings.epochs}", n, leave=False, disable=None))

    def _parts(self, batch: DecoderBatch) -> LossParts:
        """Loss of a training batch; the HV target is computed from the transformed instances."""
        tensors = on_device(batch, self.trainable.device, self.augmentation.stored)
        with half_precision(self.trainable.device):
            maps = self.decoder(tensors.tokens, tensors.image if self.decoder.reads_image else None)
        parts: LossParts = self.loss(maps, tensors.instances, tensors.classes, hv_maps(tensors.instances))
        return parts

    def _validated(self, bpq_by: Workers | None) -> dict[str, float]:
        plan = sequential_rows(self.rows.validate, self.settings.batch_size)
        with closing(decoder_batches(self.data.features, self.data.tiles, plan, blocks=self.blocks)) as batches:
            device, selection = self.trainable.device, self.selection
            return validate(self.decoder, self.loss, batches, device=device, selection=selection, bpq_by=bpq_by)


def _loss(settings: LossSettings, tiles: Rows, train: Int[np.ndarray, " r"]) -> HoVerNetLoss:
    """The loss of these settings; class weights come from the training tiles."""
    options = settings.model_dump(exclude={"class_weights"})
    weights = pixel_weights(pixel_counts(tiles, train)) if settings.class_weights else None
    return HoVerNetLoss(**options, class_weights=weights)
