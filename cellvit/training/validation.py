"""How good a decoder in training is on the validation tiles."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64

from cellvit.data.batches import DecoderBatch
from cellvit.evaluation.map_sums import map_sums
from cellvit.formats.history import LOSS_PARTS, MAP_FIGURES
from cellvit.hover.encode import hv_maps
from cellvit.inference.maps import as_map_batch, forward
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch
from cellvit.inference.tensors import on_device
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.metrics.maps import MapSums
from cellvit.metrics.pannuke import mean_over_organs
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.models.maps import HoverMaps
from cellvit.training.loop import Means
from cellvit.training.tile_bpq import BpqTask, tile_bpq

NOT_MEASURED = dict.fromkeys((*LOSS_PARTS, *MAP_FIGURES), math.nan)
"""Values where there are no validation tiles."""


@dataclass
class _Sums:
    """What adds up while batches pass."""

    losses: Means = field(default_factory=Means)
    rows: list[Float64[np.ndarray, "b k"]] = field(default_factory=list)
    organs: list[str] = field(default_factory=list)

    @property
    def maps(self) -> MapSums:
        return MapSums(np.concatenate(self.rows))


def validate(
    decoder: HoVerNetDecoder,
    loss: HoVerNetLoss,
    batches: Iterable[DecoderBatch],
    *,
    device: torch.device,
    bpq_by: Workers | None,
) -> dict[str, float]:
    """Loss parts and figures of the maps over all tiles of `batches`; the decoder is left in evaluation mode.

    Args:
        bpq_by: Workers that segment the tiles for bPQ, the mean over organs (published watershed); None leaves it NaN.
    """
    decoder.eval()
    sums = _Sums()
    stream = _mapped(decoder, lambda batch, maps: _loss_of(loss, batch, maps, device), batches, sums, device)
    if bpq_by is None:
        bpq = math.nan
        for _ in stream:
            pass
    else:
        values = np.array(list(bpq_by.map(tile_bpq, _tasks(stream))))
        bpq = mean_over_organs(values, np.array(sums.organs, object)) if len(values) else math.nan
    if not sums.rows:
        return dict(NOT_MEASURED)
    return {**sums.losses.values(), **_figures(sums.maps), "bpq": bpq}


def _mapped(
    decoder: HoVerNetDecoder,
    loss_of: Callable[[DecoderBatch, HoverMaps], LossParts],
    batches: Iterable[DecoderBatch],
    sums: _Sums,
    device: torch.device,
) -> Iterator[MapBatch]:
    """Yield the maps of each batch after counting them in `sums`."""
    for batch in batches:
        maps = forward(decoder, batch, device)
        sums.losses.add(loss_of(batch, maps).as_floats(), len(batch))
        found = as_map_batch(batch.tiles, maps)
        sums.rows.append(map_sums(found).rows)
        sums.organs.extend(batch.tiles.organ)
        yield found


@torch.inference_mode()
def _loss_of(loss: HoVerNetLoss, batch: DecoderBatch, maps: HoverMaps, device: torch.device) -> LossParts:
    truth = on_device(batch, device)
    parts: LossParts = loss(maps, truth.instances, truth.classes, hv_maps(truth.instances))
    return parts


def _tasks(stream: Iterable[MapBatch]) -> Iterator[BpqTask]:
    for found in stream:
        for place, instances in enumerate(found.tiles.instances):
            yield BpqTask(instances, found.np_prob[place], found.hv[place])


def _figures(sums: MapSums) -> dict[str, float]:
    return {
        "np_dice": sums.value("np_dice"),
        "hv_mse": sums.value("hv_mse"),
        "hv_skill": sums.value("hv_skill"),
        "hv_magnitude_mean": sums.value("hv_length"),
        "nt_accuracy": sums.value("nt_accuracy"),
    }
