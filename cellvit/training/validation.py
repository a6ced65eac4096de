"""Values of a decoder in training on the validation tiles."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64

from cellvit.data.batches import DecoderBatch
from cellvit.evaluation.map_sums import map_sums
from cellvit.formats.history import LOSS_PARTS, VALIDATION_METRICS
from cellvit.hover.encode import hv_maps
from cellvit.inference.maps import as_map_batch, forward
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.tensors import on_device
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.metrics.maps import MapSums
from cellvit.metrics.pannuke import mean_over_organs
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.loop import Means
from cellvit.training.tile_bpq import BpqTask, tile_bpq


def validate(
    decoder: HoVerNetDecoder,
    loss: HoVerNetLoss,
    batches: Iterable[DecoderBatch],
    *,
    device: torch.device,
    bpq_by: Workers | None,
) -> dict[str, float]:
    """Loss parts and metrics of the maps over all tiles of `batches`, NaN without tiles; leaves the decoder in eval mode.

    Args:
        bpq_by: Workers that segment the tiles for bPQ, the mean over organs (published watershed); None leaves it NaN.
    """
    decoder.eval()
    validation = _Validation(decoder, loss, device)
    stream, bpq = validation.maps_of(batches), math.nan
    if bpq_by is None:
        for _ in stream:
            pass
    else:
        tasks = (BpqTask(*one) for p in stream for one in zip(p.tiles.instances, p.np_prob, p.hv, strict=True))
        values = np.array(list(bpq_by.map(tile_bpq, tasks)))
        bpq = mean_over_organs(values, np.array(validation.organs, object)) if len(values) else math.nan
    if not validation.rows:
        return dict.fromkeys((*LOSS_PARTS, *VALIDATION_METRICS), math.nan)
    return {**validation.values(), "bpq": bpq}


@dataclass
class _Validation:
    """A pass over the validation tiles, and what it adds up."""

    decoder: HoVerNetDecoder
    loss: HoVerNetLoss
    device: torch.device
    losses: Means = field(default_factory=Means)
    rows: list[Float64[np.ndarray, "b k"]] = field(default_factory=list)
    organs: list[str] = field(default_factory=list)

    def maps_of(self, batches: Iterable[DecoderBatch]) -> Iterator[MapBatch]:
        """Yield the maps of each batch after adding up its values."""
        for batch in batches:
            maps = forward(self.decoder, batch, self.device)
            with torch.inference_mode():
                truth = on_device(batch, self.device)
                parts: LossParts = self.loss(maps, truth.instances, truth.classes, hv_maps(truth.instances))
            self.losses.add(parts.as_floats(), len(batch))
            predicted = as_map_batch(batch.tiles, maps)
            self.rows.append(map_sums(predicted).rows)
            self.organs.extend(batch.tiles.organ)
            yield predicted

    def values(self) -> dict[str, float]:
        """Mean of each part of the loss, and the metrics of the maps except bPQ."""
        sums = MapSums(np.concatenate(self.rows))
        return self.losses.values() | {name: sums.value(name) for name in VALIDATION_METRICS if name != "bpq"}
