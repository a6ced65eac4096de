"""Training of a HoVer-Net decoder on the features of a family."""

import logging
import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Int
from tqdm import tqdm

from cellvit.config.evaluation import SelectionSettings
from cellvit.config.models import DecoderSettings, LossSettings, Precision, TrainingSettings
from cellvit.config.steps import TrainHovernetSettings
from cellvit.data.batches import SampledRows, decoder_batches, sequential_rows
from cellvit.formats.family import FamilyData
from cellvit.formats.hdf5 import Rows
from cellvit.formats.headed import Arrays
from cellvit.formats.history import HOVERNET_HISTORY, RoundRecord
from cellvit.formats.training_state import StateFile
from cellvit.inference.blocks import block_positions, stored_blocks
from cellvit.inference.parallel import Workers, workers
from cellvit.inference.stored_views import stored_views
from cellvit.inference.tensors import StoredBatch, shown
from cellvit.inference.tile_source import TileSource, TrainingTiles, tile_source
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.models.device import arithmetic, autocast, computes_in_bfloat16
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.augmentation import Augmentation, augmentation_of
from cellvit.training.averaging import WeightAverage
from cellvit.training.class_weights import pixel_counts, pixel_weights
from cellvit.training.loop import adamw, averaged, log_round, rate_at, train_steps
from cellvit.training.plan import Plan
from cellvit.training.resuming import SelectedModel, train_to_end
from cellvit.training.seeding import Stream, rng_of, seeded
from cellvit.training.trainable import Trainable, as_tensors
from cellvit.training.validation import validate

log = logging.getLogger(__name__)


_NOTHING_TRAINED: Final = dict.fromkeys(HOVERNET_HISTORY.train, math.nan)
"""Means over the training tiles of a round without steps."""


class RowsByRole(NamedTuple):
    """Row numbers of the tiles that train, and of those that select the weights."""

    train: Int[np.ndarray, " r"]
    validate: Int[np.ndarray, " r"]


def blocks_read(decoder: DecoderSettings, features: Rows) -> tuple[int, ...]:
    """Blocks of the encoder whose tokens the decoder reads."""
    return decoder.blocks or stored_blocks(features)


def architecture_of(decoder: DecoderSettings, features: Rows, n_classes: int) -> dict[str, Any]:
    """Arguments of `HoVerNetDecoder` for these settings and features, and the nuclear classes of the tiles."""
    *_, grid, _, dim = features.shape("tokens")
    return {
        "dim": dim,
        "blocks": len(blocks_read(decoder, features)),
        "grid": grid,
        "n_classes": n_classes,
        **decoder.model_dump(mode="json", exclude={"blocks"}),
    }


def fit_decoder(  # eight arguments: where a training starts, resumes, ends and computes is independent of its data
    data: FamilyData,
    rows: RowsByRole,
    settings: TrainHovernetSettings,
    *,
    device: torch.device,
    threads: int = 1,
    states: StateFile | None = None,
    start: Arrays | None = None,
    stop_after: int | None = None,
) -> SelectedModel:
    """Train a decoder; select the weights of the best validation metric, or the last ones without validation tiles.

    If training starts from all weights of another decoder, these take part in the selection: they stay if no step is better.

    Args:
        rows: At least one training tile.
        threads: Processes that segment the validation tiles for this metric.
        states: Where the training resumes from, and where each round is stored; None stores nothing.
        start: Weights of a decoder of the same architecture to start from; those that are missing start from random ones.
        stop_after: Steps to take of those that the learning rate is planned for; None takes all.

    Raises:
        StaleFileError: The features do not hold the blocks or views that the settings ask for.
        TrainingDivergedError: Loss or gradient is not finite.
    """
    options, n_steps = settings.training, settings.training.n_steps(len(rows.train))
    precision = arithmetic(device, options.precision)
    line = "tiles train=%d validate=%d steps=%d device=%s arithmetic=%s"
    log.info(line, len(rows.train), len(rows.validate), n_steps, device, precision)
    if precision == "bfloat16" and not computes_in_bfloat16(device):
        log.warning("this device imitates bfloat16, which takes longer than float32. Fix: training.precision: fastest")
    augmentation = augmentation_of(options, stored_views(data.features))
    blocks = block_positions(data.features, blocks_read(settings.decoder, data.features))
    plan = Plan(rows.train, options.batch_size, settings.seed, n_steps, options.record_every, stop_after)
    with seeded(settings.seed, device), workers(threads, len(rows.validate)) as pool:
        decoder = _decoder(settings.decoder, data, start).to(device)
        is_trained = start is not None and start.keys() == decoder.state_dict().keys()
        loss = _loss(options.loss, data.tiles, rows.train).to(device)
        optimizer = adamw((decoder, loss), learning_rate=options.learning_rate, weight_decay=options.weight_decay)
        average = WeightAverage(decoder, options.ema) if options.ema else None
        trainable = Trainable(decoder, {"loss": loss}, optimizer, device, settings.seed, average)
        read = TrainingTiles(data, rows.train, blocks, augmentation.stored, augmentation.n_sampled)
        source = tile_source(read, device)
        of_steps = blocks, augmentation, replace(plan, starts_trained=is_trained), source
        fit = _Training(decoder, loss, trainable, options, data, rows.validate, settings.selection, *of_steps)
        rounds_after, metric = partial(fit.rounds, pool), settings.selection.select_by
        return train_to_end(trainable, rounds_after, metric=metric, states=states, patience=options.patience)


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
    validate: Int[np.ndarray, " r"]
    selection: SelectionSettings
    blocks: tuple[int, ...]
    augmentation: Augmentation
    plan: Plan
    source: TileSource

    def rounds(self, pool: Workers, after: int) -> Generator[RoundRecord]:
        """Train the rounds after the first `after` steps; yield the record of each."""
        n_steps = self.plan.end
        with closing(self.source.batches(self._sampled(after))) as batches:
            for steps in self.plan.rounds(after):
                started = time.perf_counter()
                rate, means = self._trained(steps, batches) if steps else (0.0, _NOTHING_TRAINED)
                tiles_per_s = len(steps) * self.plan.tiles_per_step / (time.perf_counter() - started)
                measured = steps.stop % self.settings.validate_every == 0 or steps.stop == n_steps
                values = self._validated(pool) if measured else dict.fromkeys(HOVERNET_HISTORY.validate, math.nan)
                record = RoundRecord(steps.stop, steps.stop / self.plan.per_epoch, rate, means, values)
                log_round(record, n_steps, tiles_per_s=tiles_per_s, seconds=time.perf_counter() - started)
                yield record

    def _sampled(self, first: int) -> Iterator[SampledRows]:
        """Tiles of each step from `first` on, with what is sampled for them."""
        for step, rows in self.plan.batches(first):
            yield self.augmentation.sampled(rows, rng_of(self.plan.seed, Stream.VIEWS, step))

    def _trained(self, steps: range, batches: Iterator[StoredBatch]) -> tuple[float, dict[str, float]]:
        """Train one round; return the last learning rate and the mean of each part of the loss."""
        settings, n_steps = self.settings, self.plan.n_steps
        rate_of = partial(rate_at, peak=settings.learning_rate, steps=n_steps, warmup=settings.warmup)
        self.decoder.train()
        taken = train_steps(
            self.trainable,
            islice(batches, len(steps)),
            self._parts,
            rate_of,
            max_norm=settings.max_norm,
            first=steps.start,
        )
        return averaged(tqdm(taken, f"steps to {steps.stop}/{n_steps}", len(steps), leave=False, disable=None))

    def _parts(self, batch: StoredBatch) -> LossParts:
        return loss_of(self.decoder, self.loss, batch, self.augmentation, precision=self.settings.precision)

    def _validated(self, pool: Workers) -> dict[str, float]:
        """Values of the weights that would be selected now."""
        plan = sequential_rows(self.validate, self.settings.batch_size)
        decoder = cast(HoVerNetDecoder, self.trainable.result)
        with closing(decoder_batches(self.data.features, self.data.tiles, plan, blocks=self.blocks)) as batches:
            device, selection = self.trainable.device, self.selection
            return validate(decoder, self.loss, batches, device=device, selection=selection, pool=pool)


def loss_of(
    decoder: HoVerNetDecoder,
    loss: HoVerNetLoss,
    batch: StoredBatch,
    augmentation: Augmentation,
    *,
    precision: Precision = "auto",
) -> LossParts:
    """Loss of a training batch, without waiting for its device; HV is computed from the instances in their view.

    Args:
        precision: Arithmetic of the decoder; the loss is computed in float32.
    """
    tensors = shown(batch)
    tokens = augmentation.with_noise(tensors.tokens)
    with autocast(tokens.device, precision):
        maps = decoder(tokens, tensors.image if decoder.reads_image else None)
    parts: LossParts = loss(maps, tensors.instances, tensors.classes, tensors.hv_maps())
    return parts


def _decoder(settings: DecoderSettings, data: FamilyData, start: Arrays | None) -> HoVerNetDecoder:
    """A decoder of random weights, or of those to start from where there are any."""
    decoder = HoVerNetDecoder(**architecture_of(settings, data.features, data.tiles.dataset.n_classes))
    if start is not None:
        decoder.load_state_dict(decoder.state_dict() | as_tensors(start), strict=True)
    return decoder


def _loss(settings: LossSettings, tiles: Rows, train: Int[np.ndarray, " r"]) -> HoVerNetLoss:
    """The loss of these settings; class weights come from the training tiles."""
    options = settings.model_dump(exclude={"class_weights"})
    weights = pixel_weights(pixel_counts(tiles, train)) if settings.class_weights else None
    return HoVerNetLoss(**options, class_weights=weights)
