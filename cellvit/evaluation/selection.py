"""The metric that selects weights and decodings: its value on a tile, for worker processes (imports no torch), and its mean."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Shaped, UInt8

from cellvit.config.evaluation import SelectBy
from cellvit.hover.classes import class_map, classify
from cellvit.hover.classical import classical_decoder
from cellvit.hover.decode import Watershed, segment_grid
from cellvit.hover.parameters import Classical
from cellvit.inference.predictions import Segmentation
from cellvit.inference.segment import one_class
from cellvit.metrics.annotated import within
from cellvit.metrics.overlap import aji, panoptic_quality
from cellvit.metrics.pannuke import mean_over_organs, tile_scores
from cellvit.metrics.ratio import mean_defined


class MapsOfTile(NamedTuple):
    """Predicted maps of one tile that are to be decoded with each of the points.

    Attributes:
        nt_class: The most probable class of each pixel.
        n_classes: Nuclear classes of the data set.
    """

    truth: Segmentation
    np_prob: Float32[np.ndarray, "h w"]
    hv: Float32[np.ndarray, "2 h w"]
    nt_class: UInt8[np.ndarray, "h w"]
    points: tuple[Watershed, ...]
    n_classes: int


class ImageOfTile(NamedTuple):
    """Image of one tile that the classical baseline is to segment with each of the points.

    Attributes:
        majority_class: Class of all its nuclei.
    """

    truth: Segmentation
    image: UInt8[np.ndarray, "h w 3"]
    majority_class: int
    points: tuple[Classical, ...]
    n_classes: int


def values_of_maps(select_by: SelectBy, tile: MapsOfTile) -> Float64[np.ndarray, " p"]:
    """Value of the metric on the tile for each point, in order; NaN where undefined."""
    if select_by != "aji" and not tile.truth.instances.any():
        return np.full(len(tile.points), math.nan)
    decoded = segment_grid(tile.np_prob, tile.hv, tile.points)
    if select_by != "mpq":
        return np.array([_binary(select_by, tile.truth, instances) for _, instances in decoded])
    nt_prob = np.stack([tile.nt_class == number for number in range(tile.n_classes + 1)]).astype(np.float32)
    return np.array([_typed(tile, _with_classes(instances, nt_prob)) for _, instances in decoded])


def values_of_image(select_by: SelectBy, tile: ImageOfTile) -> Float64[np.ndarray, " p"]:
    """Value of the metric on the tile for the classical baseline with each point, in order; NaN where undefined."""
    if select_by != "aji" and not tile.truth.instances.any():
        return np.full(len(tile.points), math.nan)
    decode = classical_decoder(tile.image, annotated=tile.truth.annotated)
    predicted = [one_class(decode(point), tile.majority_class) for point in tile.points]
    if select_by != "mpq":
        return np.array([_binary(select_by, tile.truth, one.instances) for one in predicted])
    return np.array([_typed(tile, one) for one in predicted])


def mean_value(select_by: SelectBy, values: Float[np.ndarray, " n"], organs: Shaped[np.ndarray, " n"]) -> float:
    """The metric over tiles as it is reported: bPQ and mPQ are means over tiles, then over organs; AJI over tiles.

    Examples:
        >>> mean_value("bpq", np.array([0.25, 0.75, 1.0]), np.array(["Colon", "Colon", "Liver"]))
        0.75
    """
    return mean_defined(values) if select_by == "aji" else mean_over_organs(values, organs)


def _binary(select_by: SelectBy, truth: Segmentation, instances: Int32[np.ndarray, "h w"]) -> float:
    instances = within(instances, truth.annotated)
    return aji(truth.instances, instances) if select_by == "aji" else panoptic_quality(truth.instances, instances).pq


def _typed(tile: MapsOfTile | ImageOfTile, prediction: Segmentation) -> float:
    truth, prediction = tile.truth, prediction.within(tile.truth.annotated)
    sides = truth.instances, truth.classes, prediction.instances, prediction.classes
    return tile_scores(*sides, n_classes=tile.n_classes).mpq


def _with_classes(instances: Int32[np.ndarray, "h w"], nt_prob: Float32[np.ndarray, "c h w"]) -> Segmentation:
    return Segmentation(instances, class_map(instances, classify(instances, nt_prob).classes))
