"""Values of a decoder in training on the validation tiles."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float64

from cellvit.config.evaluation import SelectionSettings
from cellvit.data.batches import DecoderBatch
from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.selection import MapsOfTile, mean_value, values_of_maps
from cellvit.formats.history import LOSS_PARTS, MAP_METRICS, VALIDATION_METRICS
from cellvit.hover.decode import METHODS
from cellvit.hover.encode import hv_maps
from cellvit.inference.maps import as_map_batch, forward
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.inference.tensors import on_device
from cellvit.losses.hover import HoVerNetLoss, LossParts
from cellvit.metrics.maps import MapSums
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.loop import Means


def validate(
    decoder: HoVerNetDecoder,
    loss: HoVerNetLoss,
    batches: Iterable[DecoderBatch],
    *,
    device: torch.device,
    selection: SelectionSettings,
    bpq_by: Workers | None,
) -> dict[str, float]:
    """Loss parts and metrics of the maps over all tiles of `batches`, NaN without tiles; leaves the decoder in eval mode.

    Args:
        selection: Which metric of segmented nuclei is measured, and the methods that decode them.
        bpq_by: Workers that segment the tiles for this metric; None leaves it NaN, as the other such metrics are.
    """
    decoder.eval()
    validation = _Validation(decoder, loss, device)
    stream, selected = validation.maps_of(batches), math.nan
    if bpq_by is None:
        for _ in stream:
            pass
    else:
        tasks = (tile for maps in stream for tile in _tiles(maps, selection))
        values = list(bpq_by.map(partial(values_of_maps, selection.select_by), tasks))
        selected = _best_mean(selection, values, validation.organs)
    if not validation.rows:
        return dict.fromkeys((*LOSS_PARTS, *VALIDATION_METRICS), math.nan)
    return {**dict.fromkeys(VALIDATION_METRICS, math.nan), **validation.values(), selection.select_by: selected}


def _tiles(maps: MapBatch, selection: SelectionSettings) -> Iterator[MapsOfTile]:
    """The tiles of a batch, to be decoded by each method with its default parameters."""
    points = tuple(METHODS[method]() for method in selection.method)
    truths = map(Segmentation, maps.tiles.instances, maps.tiles.classes)
    return map(partial(MapsOfTile, points=points), truths, maps.np_prob, maps.hv, maps.most_probable_class)


def _best_mean(
    selection: SelectionSettings, values: Sequence[Float64[np.ndarray, " p"]], organs: Sequence[str]
) -> float:
    """The metric with the method that is best, as tuning chooses among the same methods; NaN if it is undefined."""
    columns = zip(*values, strict=True)
    means = [mean_value(selection.select_by, np.array(column), np.array(organs, object)) for column in columns]
    return max((mean for mean in means if not math.isnan(mean)), default=math.nan)


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
        """Mean of each part of the loss, and the metrics of the maps."""
        sums = MapSums(np.concatenate(self.rows))
        return self.losses.values() | {name: sums.value(name) for name in MAP_METRICS}
