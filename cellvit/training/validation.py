"""Values of a decoder in training on the validation tiles."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from cellvit.data.batches import DecoderBatch
from cellvit.evaluation.map_sums import sums_on_device
from cellvit.formats.history import HOVERNET_HISTORY, LOSS_PARTS, VALIDATION_METRICS
from cellvit.formats.tiles import TileBatch
from cellvit.inference.maps import forward
from cellvit.inference.parallel import Workers
from cellvit.inference.tensors import on_device
from cellvit.inference.transfer import Landing, Transfer
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.metrics.maps import MapSums
from cellvit.metrics.pannuke import mean_over_organs
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.tile_bpq import BpqTask, tile_bpq


def validate(
    decoder: HoVerNetDecoder,
    loss: HoVerNetLoss,
    batches: Iterable[DecoderBatch],
    *,
    device: torch.device,
    bpq_by: Workers,
) -> dict[str, float]:
    """Loss parts and metrics of the maps over all tiles of `batches`, NaN without tiles; leaves the decoder in eval mode.

    Args:
        bpq_by: Workers that segment the tiles for bPQ, the mean over organs (published watershed).
    """
    decoder.eval()
    validation = _Validation(decoder, loss, device)
    values = np.array(list(bpq_by.map(tile_bpq, validation.tasks(batches))))
    if not len(values):
        return dict.fromkeys(HOVERNET_HISTORY.validate, math.nan)
    return {**validation.values(), "bpq": mean_over_organs(values, np.array(validation.organs, object))}


@dataclass
class _Validation:
    """A pass over the validation tiles, and what it adds up."""

    decoder: HoVerNetDecoder
    loss: HoVerNetLoss
    device: torch.device
    losses: list[Float32[Tensor, " k"]] = field(default_factory=list)
    sums: list[Float64[Tensor, "b k"]] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    organs: list[str] = field(default_factory=list)

    def tasks(self, batches: Iterable[DecoderBatch]) -> Iterator[BpqTask]:
        """Yield the maps of each tile; while those of a batch are segmented, a GPU computes the next batch."""
        transfer, before = Transfer(self.device), None
        for batch in batches:
            maps = batch.tiles, transfer.down(self._predicted(batch))
            if before is not None:
                yield from _tasks(*before)
            before = maps
        if before is not None:
            yield from _tasks(*before)

    def values(self) -> dict[str, float]:
        """Mean of each part of the loss, and the metrics of the maps except bPQ."""
        losses = np.average(torch.stack(self.losses).double().cpu().numpy(), axis=0, weights=self.n)
        sums = MapSums(torch.cat(self.sums).cpu().numpy())
        return dict(zip(LOSS_PARTS, losses.tolist(), strict=True)) | {
            name: sums.value(name) for name in VALIDATION_METRICS if name != "bpq"
        }

    @torch.inference_mode()
    def _predicted(self, batch: DecoderBatch) -> tuple[Tensor, Tensor]:
        """NP probability and HV of a batch on the device, after adding up its values."""
        truth = on_device(batch, self.device)
        maps, hv_true = forward(self.decoder, truth), truth.hv_maps()
        parts: LossParts = self.loss(maps, truth.instances, truth.classes, hv_true)
        self.losses.append(torch.stack(parts))
        self.sums.append(sums_on_device(maps, truth, hv_true))
        self.n.append(len(batch))
        self.organs.extend(batch.tiles.organ)
        return maps.np.float().softmax(dim=1)[:, 1].contiguous(), maps.hv.float().contiguous()


def _tasks(tiles: TileBatch, maps: Landing) -> Iterator[BpqTask]:
    np_prob, hv = maps.arrays()
    return map(BpqTask, tiles.instances, np_prob, hv)
