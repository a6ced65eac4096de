"""Sums of predicted maps against the ground truth; training reads them too, so that no other system is imported here."""

from collections.abc import Iterable

import numpy as np

from cellvit.hover.encode import hv_maps
from cellvit.inference.predictions import MapBatch
from cellvit.metrics.maps import MapSums


def map_sums(batch: MapBatch) -> MapSums:
    """Sums of the maps of a batch, one row per tile, against HV maps that are computed from the ground truth."""
    tiles = batch.tiles
    predicted_class, hv_true = batch.nt_prob.argmax(axis=1), hv_maps(tiles.instances)
    return MapSums.of(batch.np_prob, batch.hv, predicted_class, tiles.instances, tiles.classes, hv_true)


def sums_of_all(batches: Iterable[MapBatch]) -> MapSums:
    """Sums of the maps of every tile of a stream."""
    rows = [map_sums(batch).rows for batch in batches]
    return MapSums(np.concatenate([MapSums.empty().rows, *rows]))
