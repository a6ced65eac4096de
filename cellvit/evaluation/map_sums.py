"""Sums of predicted maps against the ground truth; training reads them too, so that no other system is imported here."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.hdf5 import Rows
from cellvit.hover.encode import hv_maps
from cellvit.inference.loading import Loaded
from cellvit.inference.maps import predict_on_device
from cellvit.inference.pixel_maps import PixelMaps
from cellvit.inference.predictions import MapBatch
from cellvit.inference.tensors import TensorBatch
from cellvit.metrics.maps import NP_THRESHOLD, MapSums, columns_of
from cellvit.models.hovernet import HoVerNetDecoder


def map_sums(batch: MapBatch) -> MapSums:
    """Sums of the maps of a batch, one row per tile, against HV maps that are computed from the ground truth."""
    tiles = batch.tiles
    predicted_class, hv_true = batch.nt_prob.argmax(axis=1), hv_maps(tiles.instances)
    maps = batch.np_prob, batch.hv, predicted_class, tiles.instances, tiles.classes, hv_true
    return MapSums.of(*maps, n_classes=tiles.dataset.n_classes)


def predicted_sums(
    decoder: Loaded[HoVerNetDecoder],
    features: Rows,
    tiles: Rows,
    rows: Int[np.ndarray, " r"],
    *,
    average_views: bool = False,
) -> Iterator[Float64[np.ndarray, "b k"]]:
    """Yield the rows of `MapSums` of the tiles at `rows`, batch by batch; the maps do not leave the device.

    Args:
        average_views: As of `cellvit.inference.maps.predict_maps`.
    """
    for predicted in predict_on_device(decoder, features, tiles, rows, average_views=average_views):
        truth = predicted.tensors
        yield sums_on_device(predicted.maps, truth, truth.hv_maps()).cpu().numpy()


@torch.inference_mode()
def sums_on_device(maps: PixelMaps, truth: TensorBatch, hv_true: Tensor) -> Float64[Tensor, "b k"]:
    """Rows of `MapSums`, computed where the maps are, without waiting for the device; of a Mac's GPU, on the CPU.

    Counts are equal to those of `MapSums.of`, and other sums up to the rounding of float64 (a relative 1e-12).

    Args:
        hv_true: HV maps of the ground truth.
    """
    instances, classes, n_classes = truth.instances, truth.classes, maps.nt_prob.shape[1] - 1
    if instances.device.type == "mps":  # it has no float64
        maps = PixelMaps(*(values.cpu() for values in maps))
        instances, classes, hv_true = instances.cpu(), classes.cpu(), hv_true.cpu()
    nuclear = instances > 0
    annotated = classes != NOT_ANNOTATED
    positive = (maps.np_prob >= NP_THRESHOLD) & annotated
    hv, hv_true = (torch.where(nuclear.unsqueeze(1), m.double(), 0) for m in (maps.hv, hv_true))

    length, length_true = (torch.hypot(*vectors.unbind(1)) for vectors in (hv, hv_true))
    has_angle = length_true > 0

    def total(values: Tensor) -> Float64[Tensor, " b"]:
        return values.flatten(1).sum(dim=1, dtype=torch.float64)

    sums = {
        "pixels": total(annotated),
        "nuclear_px": total(nuclear),
        "np_predicted_px": total(positive),
        "np_shared_px": total(positive & nuclear),
        "hv_square_error": total((hv - hv_true).square()),
        "hv_true_square": total(hv_true.square()),
        "hv_length": total(length),
        "hv_length_true": total(length_true),
        "hv_angle": total(torch.where(has_angle, _angle_error(hv, hv_true), 0)),
        "hv_angle_px": total(has_angle),
        "nt_correct_px": total((maps.nt_prob.argmax(dim=1) == classes) & nuclear),
        **{f"class_{number}_px": total((classes == number) & nuclear) for number in range(n_classes + 1)},
    }
    return torch.stack([sums[name] for name in columns_of(n_classes)], dim=1)


def _angle_error(hv: Float64[Tensor, "b 2 h w"], hv_true: Float64[Tensor, "b 2 h w"]) -> Float64[Tensor, "b h w"]:
    """As `cellvit.metrics.maps.angle_error`, where the true vector is not 0."""
    (h, v), (h_true, v_true) = hv.unbind(1), hv_true.unbind(1)
    degrees = torch.rad2deg(torch.atan2((h * v_true - v * h_true).abs(), h * h_true + v * v_true))
    return torch.where((h != 0) | (v != 0), degrees, 90)
