"""Quality of the NP, HV and NT maps against the ground truth, beside the score of trivial baselines.

A tile gives one row of sums; a metric is a quotient of summed rows. So the rows of all tiles can be added, and
have an interval: ``interval_of_sums(METRICS["hv_skill"], sums.rows, scale="at_most_one")``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float, Float64, Integer

from cellvit.errors import ContractError
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.metrics.instances import PANNUKE_CLASSES, checked_classes
from cellvit.metrics.ratio import ratio

NP_THRESHOLD: Final = 0.5
"""A pixel is nuclear from this probability on (HoVer-Net's post-processing, Graham et al. 2019)."""

_COMMON: Final = (
    "pixels",
    "nuclear_px",
    "np_predicted_px",
    "np_shared_px",
    "hv_square_error",
    "hv_true_square",
    "hv_length",
    "hv_length_true",
    "hv_angle",
    "hv_angle_px",
    "nt_correct_px",
)
"""Columns of `MapSums` before those of the classes: all are over annotated pixels, and those of HV and NT are sums over
nuclear pixels (and over both channels for squares). The angles
are in degrees, over the `hv_angle_px` nuclear pixels whose true vector has a direction."""


def columns_of(n_classes: int) -> tuple[str, ...]:
    """Columns of `MapSums`; the last are the nuclear pixels by true class, from 0 (none) to the number of classes."""
    return (*_COMMON, *(f"class_{number}_px" for number in range(n_classes + 1)))


COLUMNS: Final = columns_of(PANNUKE_CLASSES)
"""Columns of PanNuke's tiles."""

Sums = Float64[np.ndarray, "*batch k"]
Value = Float64[np.ndarray, "*batch"]


@dataclass(frozen=True, slots=True, eq=False)
class MapSums:
    """Sums of tiles.

    Attributes:
        rows: One row per tile, with the columns of `columns_of`.
    """

    rows: Float64[np.ndarray, "n k"]

    @classmethod
    def empty(cls, n_classes: int = PANNUKE_CLASSES) -> "MapSums":
        """Sums of no tile."""
        return cls(np.zeros((0, len(columns_of(n_classes)))))

    @classmethod
    def of(
        cls,
        np_prob: Float[np.ndarray, "b h w"],
        hv: Float[np.ndarray, "b 2 h w"],
        nt: Integer[np.ndarray, "b h w"],
        instances: Integer[np.ndarray, "b h w"],
        classes: Integer[np.ndarray, "b h w"],
        hv_true: Float[np.ndarray, "b 2 h w"],
        *,
        n_classes: int = PANNUKE_CLASSES,
    ) -> "MapSums":
        """Sums of a batch: predicted probability, HV and class (0 to n_classes) of each pixel, then the ground truth.

        Pixels whose true class is `NOT_ANNOTATED` count nowhere; they belong to no nucleus.

        Raises:
            ContractError: The shapes do not match, or a class is outside 0..n_classes.
        """
        _check_shapes(np_prob, hv, nt, instances, classes, hv_true)
        n_tiles, tile_px = len(instances), int(np.prod(instances.shape[1:]))
        tile, pixel = np.divmod(np.flatnonzero(instances > 0), max(tile_px, 1))  # one entry per nuclear pixel
        planes = (m.reshape(n_tiles, 2, tile_px) for m in (hv, hv_true))
        hv_at, hv_true_at = (np.stack([m[tile, c, pixel] for c in (0, 1)]).astype(np.float64) for m in planes)
        true_class, nt_class = (
            checked_classes(m.reshape(n_tiles, tile_px)[tile, pixel], n_classes) for m in (classes, nt)
        )
        annotated = (classes != NOT_ANNOTATED).reshape(n_tiles, tile_px)
        nuclear = (np_prob.reshape(n_tiles, tile_px) >= NP_THRESHOLD) & annotated
        angle = angle_error(hv_at, hv_true_at)

        def by_tile(values: Float64[np.ndarray, " p"] | None = None) -> Float64[np.ndarray, " b"]:
            return np.bincount(tile, values, minlength=n_tiles).astype(np.float64)

        columns = [
            annotated.sum(axis=1, dtype=np.float64),
            by_tile(),
            nuclear.sum(axis=1, dtype=np.float64),
            by_tile(nuclear[tile, pixel].astype(np.float64)),
            by_tile(np.square(hv_at - hv_true_at).sum(axis=0)),
            by_tile(np.square(hv_true_at).sum(axis=0)),
            by_tile(np.hypot(*hv_at)),
            by_tile(np.hypot(*hv_true_at)),
            by_tile(np.nan_to_num(angle)),
            by_tile((~np.isnan(angle)).astype(np.float64)),
            by_tile((true_class == nt_class).astype(np.float64)),
            *(by_tile((true_class == number).astype(np.float64)) for number in range(n_classes + 1)),
        ]
        return cls(np.stack(columns, axis=1))

    def value(self, name: str) -> float:
        """A metric of `METRICS` from the sums over all tiles; NaN if undefined."""
        return float(METRICS[name](self.rows.sum(axis=0)))


def angle_error(hv: Float64[np.ndarray, "2 p"], hv_true: Float64[np.ndarray, "2 p"]) -> Float64[np.ndarray, " p"]:
    """Angle between predicted and true vectors in degrees, 0..180; NaN where the true vector is 0.

    A predicted vector of 0 has no direction and counts as 90 degrees, the mean of a random direction.

    Examples:
        >>> angle_error(np.array([[1.0, 0, 0]] * 2), np.array([[1.0, 1, 0], [0, 0, 0]])).round()
        array([45., 90., nan])
    """
    (h, v), (h_true, v_true) = hv, hv_true
    # The arctangent is exact for small angles, where the cosine is flat.
    degrees = np.rad2deg(np.arctan2(np.abs(h * v_true - v * h_true), h * h_true + v * v_true))
    degrees = np.where((h != 0) | (v != 0), degrees, 90)
    angle: Float64[np.ndarray, " p"] = np.where((h_true != 0) | (v_true != 0), degrees, np.nan)
    return angle


def nt_accuracy_of_class(sums: Sums, nucleus_class: int) -> Value:
    """Accuracy if one nuclear class is predicted everywhere; NaN without nuclei."""
    return ratio(class_px(sums)[..., nucleus_class], _column(sums, "nuclear_px"))


def class_px(sums: Sums) -> Float64[np.ndarray, "*batch c"]:
    """Nuclear pixels by true class, from 0 (none) on."""
    return sums[..., len(_COMMON) :]


METRICS: Final[Mapping[str, Callable[[Sums], Value]]] = MappingProxyType(
    {
        # Dice of nuclear pixels at probability 0.5, over all pixels of all tiles. Baseline: every pixel is nuclear.
        "np_dice": lambda sums: ratio(
            2 * _column(sums, "np_shared_px"), _column(sums, "nuclear_px") + _column(sums, "np_predicted_px")
        ),
        "np_dice_all_foreground": lambda sums: ratio(
            2 * _column(sums, "nuclear_px"), _column(sums, "nuclear_px") + _column(sums, "pixels")
        ),
        # Mean squared error of HV over nuclear pixels and both channels. Baseline: 0, which is about 0.24 on real nuclei.
        "hv_mse": lambda sums: ratio(_column(sums, "hv_square_error"), 2 * _column(sums, "nuclear_px")),
        "hv_mse_zero": lambda sums: ratio(_column(sums, "hv_true_square"), 2 * _column(sums, "nuclear_px")),
        # 1 - MSE / MSE of zero: 1 is perfect, 0 is no better than zero, negative is worse.
        "hv_skill": lambda sums: 1 - ratio(_column(sums, "hv_square_error"), _column(sums, "hv_true_square")),
        # Mean angle between predicted and true HV vectors in degrees; a random direction has 90. Unlike the length, it does
        # not change with the scale of HV, and noise raises it: a measure of signal to noise.
        "hv_angle": lambda sums: ratio(_column(sums, "hv_angle"), _column(sums, "hv_angle_px")),
        # Mean length sqrt(h^2 + v^2) of the predicted and the true HV vectors; a perfect disc has about 0.67.
        "hv_length": lambda sums: _per_nuclear_px(sums, "hv_length"),
        "hv_length_true": lambda sums: _per_nuclear_px(sums, "hv_length_true"),
        # Fraction of nuclear pixels whose class is correct. Baseline: the most frequent true class is predicted everywhere.
        "nt_accuracy": lambda sums: _per_nuclear_px(sums, "nt_correct_px"),
        "nt_accuracy_majority": lambda sums: ratio(class_px(sums).max(axis=-1), _column(sums, "nuclear_px")),
    }
)
"""Every metric of the maps, each with its baseline, as a function of summed rows; NaN where undefined."""


def _column(sums: Sums, name: str) -> Value:
    return sums[..., _COMMON.index(name)]


def _per_nuclear_px(sums: Sums, name: str) -> Value:
    return ratio(_column(sums, name), _column(sums, "nuclear_px"))


def _check_shapes(*maps: np.ndarray) -> None:
    np_prob, hv, nt, instances, classes, hv_true = (m.shape for m in maps)
    vectors = (*instances[:1], 2, *instances[1:])
    if len(instances) != 3 or (np_prob, nt, classes, hv, hv_true) != (instances,) * 3 + (vectors,) * 2:
        raise ContractError(
            "maps: expected (b, h, w) for probability, classes and instances and (b, 2, h, w) for HV, found "
            f"np_prob {np_prob}, hv {hv}, nt {nt}, instances {instances}, classes {classes}, hv_true {hv_true}. "
            "Pass NT as the predicted class of each pixel (argmax over its channels)."
        )
