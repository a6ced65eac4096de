"""Sums of predicted maps against the ground truth; training reads them too, so that no other system is imported here."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from cellvit.formats.hdf5 import Rows
from cellvit.hover.encode import hv_maps
from cellvit.inference.loading import Loaded
from cellvit.inference.maps import predict_on_device
from cellvit.inference.predictions import MapBatch
from cellvit.inference.tensors import TensorBatch
from cellvit.metrics.instances import N_CLASSES
from cellvit.metrics.maps import COLUMNS, NP_THRESHOLD, MapSums
from cellvit.models.hovernet import HoverMaps, HoVerNetDecoder


def map_sums(batch: MapBatch) -> MapSums:
    """Sums of the maps of a batch, one row per tile, against HV maps that are computed from the ground truth."""
    tiles = batch.tiles
    predicted_class, hv_true = batch.nt_prob.argmax(axis=1), hv_maps(tiles.instances)
    return MapSums.of(batch.np_prob, batch.hv, predicted_class, tiles.instances, tiles.classes, hv_true)


def predicted_sums(
    decoder: Loaded[HoVerNetDecoder], features: Rows, tiles: Rows, rows: Int[np.ndarray, " r"]
) -> Iterator[Float64[np.ndarray, "b k"]]:
    """Yield the rows of `MapSums` of the tiles at `rows`, batch by batch; their maps do not leave the device."""
    for predicted in predict_on_device(decoder, features, tiles, rows):
        truth = predicted.tensors
        yield sums_on_device(predicted.maps, truth, truth.hv_maps()).cpu().numpy()


@torch.inference_mode()
def sums_on_device(maps: HoverMaps, truth: TensorBatch, hv_true: Tensor) -> Float64[Tensor, "b k"]:
    """Rows of `MapSums`, computed where the maps are, without waiting for the device.

    Counts are equal to those of `MapSums.of`, and other sums up to the rounding of float64 (a relative 1e-12).

    Args:
        hv_true: HV maps of the ground truth.
    """
    nuclear, classes = truth.instances > 0, truth.classes
    positive = maps.np.float().softmax(dim=1)[:, 1] >= NP_THRESHOLD
    hv, hv_true = (torch.where(nuclear.unsqueeze(1), m.double(), 0) for m in (maps.hv.float(), hv_true))

    def total(values: Tensor) -> Float64[Tensor, " b"]:
        return values.flatten(1).sum(dim=1, dtype=torch.float64)

    sums = {
        "pixels": total(torch.ones_like(nuclear)),
        "nuclear_px": total(nuclear),
        "np_predicted_px": total(positive),
        "np_shared_px": total(positive & nuclear),
        "hv_square_error": total((hv - hv_true).square()),
        "hv_true_square": total(hv_true.square()),
        "hv_length": total(torch.hypot(*hv.unbind(1))),
        "hv_length_true": total(torch.hypot(*hv_true.unbind(1))),
        "nt_correct_px": total((maps.nt.argmax(dim=1) == classes) & nuclear),
        **{f"class_{number}_px": total((classes == number) & nuclear) for number in range(N_CLASSES)},
    }
    return torch.stack([sums[name] for name in COLUMNS], dim=1)
