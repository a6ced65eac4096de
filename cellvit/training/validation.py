"""Values of a decoder in training on the validation tiles."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from cellvit.config.evaluation import SelectionSettings
from cellvit.data.batches import DecoderBatch
from cellvit.evaluation.map_sums import sums_on_device
from cellvit.evaluation.selection import MapsOfTile, mean_value, values_of_maps
from cellvit.formats.history import HOVERNET_HISTORY, LOSS_PARTS, MAP_METRICS
from cellvit.formats.tiles import TileBatch
from cellvit.hover.decode import METHODS
from cellvit.inference.maps import forward
from cellvit.inference.parallel import Workers
from cellvit.inference.pixel_maps import pixel_maps
from cellvit.inference.predictions import Segmentation
from cellvit.inference.tensors import on_device
from cellvit.inference.transfer import Landing, Transfer
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.metrics.maps import COLUMNS, MapSums
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.taxonomy import TILE_PX


def validate(
    decoder: HoVerNetDecoder,
    loss: HoVerNetLoss,
    batches: Iterable[DecoderBatch],
    *,
    device: torch.device,
    selection: SelectionSettings,
    pool: Workers,
) -> dict[str, float]:
    """Loss parts and metrics of the maps over all tiles of `batches`, NaN without tiles; leaves the decoder in eval mode.

    Args:
        selection: Which metric of segmented nuclei is measured, and the methods that decode them; other such metrics are NaN.
        pool: Workers that segment the tiles for this metric.
    """
    decoder.eval()
    validation, undefined = _Validation(decoder, loss, device), dict.fromkeys(HOVERNET_HISTORY.validate, math.nan)
    tasks = validation.tasks(batches, selection)
    values = list(pool.map(partial(values_of_maps, selection.select_by), tasks))
    if not values:
        return undefined
    return {**undefined, **validation.values(), selection.select_by: _best_mean(selection, values, validation.organs)}


def _best_mean(
    selection: SelectionSettings, values: Sequence[Float64[np.ndarray, " p"]], organs: Sequence[str]
) -> float:
    """The metric with the method that is best, as tuning chooses among the same methods; NaN if it is undefined."""
    columns = zip(*values, strict=True)
    means = [mean_value(selection.select_by, np.array(column), np.array(organs, object)) for column in columns]
    return max((mean for mean in means if not math.isnan(mean)), default=math.nan)


@dataclass
class _Validation:
    """A pass over the validation tiles, and what it adds up.

    Attributes:
        losses: Parts of the loss of each batch, means over its annotated pixels.
        annotated: Annotated pixels of each batch, in tiles.
    """

    decoder: HoVerNetDecoder
    loss: HoVerNetLoss
    device: torch.device
    losses: list[Float32[Tensor, " k"]] = field(default_factory=list)
    annotated: list[Float64[Tensor, ""]] = field(default_factory=list)
    sums: list[Float64[Tensor, "b k"]] = field(default_factory=list)
    organs: list[str] = field(default_factory=list)

    def tasks(self, batches: Iterable[DecoderBatch], selection: SelectionSettings) -> Iterator[MapsOfTile]:
        """Yield the maps of each tile; while those of a batch are segmented, a GPU computes the next batch."""
        transfer, before = Transfer(self.device), None
        for batch in batches:
            maps = batch.tiles, transfer.down(self._predicted(batch))
            if before is not None:
                yield from _tasks(*before, selection)
            before = maps
        if before is not None:
            yield from _tasks(*before, selection)

    def values(self) -> dict[str, float]:
        """Mean of each part of the loss, and the metrics of the maps."""
        each = torch.stack(self.losses).cpu().double().numpy()
        annotated = torch.stack(self.annotated).cpu().numpy()
        losses = np.average(each, axis=0, weights=annotated) if annotated.any() else np.full(each.shape[1], math.nan)
        sums = MapSums(torch.cat(self.sums).cpu().numpy())
        parts = dict(zip(LOSS_PARTS, losses.tolist(), strict=True))
        return parts | {name: sums.value(name) for name in MAP_METRICS}

    @torch.inference_mode()
    def _predicted(self, batch: DecoderBatch) -> tuple[Tensor, Tensor, Tensor]:
        """NP probability, HV and most probable class of a batch on the device, after adding up its values."""
        truth = on_device(batch, self.device)
        maps, hv_true = forward(self.decoder, truth), truth.hv_maps()
        parts: LossParts = self.loss(maps, truth.instances, truth.classes, hv_true)
        of_pixels = pixel_maps(maps)
        self.losses.append(torch.stack(parts))
        sums = sums_on_device(of_pixels, truth, hv_true)
        self.sums.append(sums)
        self.annotated.append(sums[:, COLUMNS.index("pixels")].sum() / TILE_PX**2)
        self.organs.extend(batch.tiles.organ)
        np_prob, hv, nt_prob = of_pixels
        return np_prob.contiguous(), hv.contiguous(), nt_prob.argmax(dim=1).to(torch.uint8)


def _tasks(tiles: TileBatch, maps: Landing, selection: SelectionSettings) -> Iterator[MapsOfTile]:
    """The tiles of a batch, to be decoded by each method with its default parameters."""
    points = tuple(METHODS[method]() for method in selection.method)
    truths = map(Segmentation, tiles.instances, tiles.classes)
    task = partial(MapsOfTile, points=points, n_classes=tiles.dataset.n_classes)
    return map(task, truths, *maps.arrays())
