"""Values of a decoder in training on the validation tiles."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from cellvit.data.batches import DecoderBatch
from cellvit.evaluation.map_sums import map_sums
from cellvit.formats.history import HOVERNET_HISTORY, LOSS_PARTS, VALIDATION_METRICS
from cellvit.hover.encode import hv_maps
from cellvit.inference.maps import as_map_batch, forward
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.tensors import on_device
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
    stream = validation.maps_of(batches)
    tasks = (BpqTask(*one) for p in stream for one in zip(p.tiles.instances, p.np_prob, p.hv, strict=True))
    values = np.array(list(bpq_by.map(tile_bpq, tasks)))
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
    n: list[int] = field(default_factory=list)
    rows: list[Float64[np.ndarray, "b k"]] = field(default_factory=list)
    organs: list[str] = field(default_factory=list)

    def maps_of(self, batches: Iterable[DecoderBatch]) -> Iterator[MapBatch]:
        """Yield the maps of each batch after adding up its values."""
        for batch in batches:
            maps = forward(self.decoder, batch, self.device)
            with torch.inference_mode():
                truth = on_device(batch, self.device)
                parts: LossParts = self.loss(maps, truth.instances, truth.classes, hv_maps(truth.instances))
            self.losses.append(torch.stack(parts))
            self.n.append(len(batch))
            predicted = as_map_batch(batch.tiles, maps)
            self.rows.append(map_sums(predicted).rows)
            self.organs.extend(batch.tiles.organ)
            yield predicted

    def values(self) -> dict[str, float]:
        """Mean of each part of the loss, and the metrics of the maps except bPQ."""
        losses = np.average(torch.stack(self.losses).double().cpu().numpy(), axis=0, weights=self.n)
        sums = MapSums(np.concatenate(self.rows))
        return dict(zip(LOSS_PARTS, losses.tolist(), strict=True)) | {
            name: sums.value(name) for name in VALIDATION_METRICS if name != "bpq"
        }
