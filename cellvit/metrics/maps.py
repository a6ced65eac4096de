"""Quality of the NP, HV and NT maps against the truth, beside what a trivial answer would score.

A tile becomes one row of sums; a figure is a quotient of summed rows, so that rows of all tiles may be added, or
resampled for an interval: ``bootstrap(FIGURES["hv_skill"], sums.rows, rng=rng)``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from cellvit.errors import ContractError
from cellvit.metrics.instances import N_CLASSES, checked_classes
from cellvit.metrics.ratio import ratio

NP_THRESHOLD: Final = 0.5
"""A pixel is nuclear from this probability on (HoVer-Net's post-processing, Graham et al. 2019)."""

CLASS_COLUMNS: Final = tuple(f"class_{number}_px" for number in range(N_CLASSES))
"""Columns of nuclear pixels by true class."""

COLUMNS: Final = (
    "pixels",
    "nuclear_px",
    "np_found_px",
    "np_shared_px",
    "hv_square_error",
    "hv_true_square",
    "hv_length",
    "hv_true_magnitude",
    "nt_correct_px",
    *CLASS_COLUMNS,
)
"""What a row of `MapSums` holds; HV and NT columns are sums over nuclear pixels (of both channels for squares)."""

Sums = Float64[np.ndarray, "*batch k"]
Value = Float64[np.ndarray, "*batch"]


@dataclass(frozen=True, slots=True, eq=False)
class MapSums:
    """Sums of each tile; ``+`` puts the tiles of both together, properties pool all of them.

    Attributes:
        rows: One row a tile, with the columns `COLUMNS`.
    """

    rows: Float64[np.ndarray, "n k"]

    def __add__(self, other: "MapSums") -> "MapSums":
        return MapSums(np.concatenate([self.rows, other.rows]))

    @classmethod
    def empty(cls) -> "MapSums":
        """Sums of no tile, the start of a sum."""
        return cls(np.zeros((0, len(COLUMNS))))

    @classmethod
    def of(
        cls,
        np_prob: Float[np.ndarray, "b h w"],
        hv: Float[np.ndarray, "b 2 h w"],
        nt: Integer[np.ndarray, "b h w"],
        instances: Integer[np.ndarray, "b h w"],
        classes: Integer[np.ndarray, "b h w"],
        hv_true: Float[np.ndarray, "b 2 h w"],
    ) -> "MapSums":
        """Sums of a batch: probability, HV and class (0..5) as predicted, then the truth.

        Raises:
            ContractError: Shapes do not fit each other, or a class is outside 0..5.
        """
        _check_shapes(np_prob, hv, nt, instances, classes, hv_true)
        n_tiles, tile_px = len(instances), int(np.prod(instances.shape[1:]))
        tile, pixel = np.divmod(np.flatnonzero(instances > 0), max(tile_px, 1))  # one entry a nuclear pixel
        hv_found_at, hv_true_at = (_vectors(m.reshape(n_tiles, 2, tile_px), tile, pixel) for m in (hv, hv_true))
        true_class, found_class = (checked_classes(m.reshape(n_tiles, tile_px)[tile, pixel]) for m in (classes, nt))
        found = np_prob.reshape(n_tiles, tile_px) >= NP_THRESHOLD

        def by_tile(values: Float64[np.ndarray, " p"] | None = None) -> Float64[np.ndarray, " b"]:
            return np.bincount(tile, values, minlength=n_tiles).astype(np.float64)

        columns = [
            np.full(n_tiles, tile_px, np.float64),
            by_tile(),
            found.sum(axis=1, dtype=np.float64),
            by_tile(found[tile, pixel].astype(np.float64)),
            by_tile(np.square(hv_found_at - hv_true_at).sum(axis=0)),
            by_tile(np.square(hv_true_at).sum(axis=0)),
            by_tile(np.hypot(*hv_found_at)),
            by_tile(np.hypot(*hv_true_at)),
            by_tile((true_class == found_class).astype(np.float64)),
            *(by_tile((true_class == number).astype(np.float64)) for number in range(N_CLASSES)),
        ]
        return cls(np.stack(columns, axis=1))

    def figure(self, name: str) -> float:
        """A figure of `FIGURES`, pooled over all tiles; NaN where undefined."""
        return float(FIGURES[name](self.rows.sum(axis=0)))

    @property
    def np_dice(self) -> float:
        """Dice of nuclear pixels at probability 0.5."""
        return self.figure("np_dice")

    @property
    def np_dice_all_foreground(self) -> float:
        """Baseline of `np_dice`."""
        return self.figure("np_dice_all_foreground")

    @property
    def hv_mse(self) -> float:
        """Mean squared error of HV on nuclei."""
        return self.figure("hv_mse")

    @property
    def hv_mse_zero(self) -> float:
        """Baseline of `hv_mse`."""
        return self.figure("hv_mse_zero")

    @property
    def hv_skill(self) -> float:
        """Part of the baseline's error that is gone."""
        return self.figure("hv_skill")

    @property
    def hv_length(self) -> float:
        """Mean length of the predicted HV vectors on nuclei."""
        return self.figure("hv_length")

    @property
    def hv_length_true(self) -> float:
        """Mean length of the true HV vectors on nuclei."""
        return self.figure("hv_length_true")

    @property
    def nt_accuracy(self) -> float:
        """Accuracy of NT on nuclear pixels."""
        return self.figure("nt_accuracy")

    @property
    def nt_accuracy_majority(self) -> float:
        """Baseline of `nt_accuracy`."""
        return self.figure("nt_accuracy_majority")


def np_dice(sums: Sums) -> Value:
    """Dice of nuclear pixels at probability 0.5, over all pixels of all tiles; NaN where neither side has any."""
    return ratio(2 * _column(sums, "np_shared_px"), _column(sums, "nuclear_px") + _column(sums, "np_found_px"))


def np_dice_all_foreground(sums: Sums) -> Value:
    """Dice of calling every pixel nuclear."""
    return ratio(2 * _column(sums, "nuclear_px"), _column(sums, "nuclear_px") + _column(sums, "pixels"))


def hv_mse(sums: Sums) -> Value:
    """Mean squared error of HV over nuclear pixels and both channels; NaN without nuclei."""
    return ratio(_column(sums, "hv_square_error"), 2 * _column(sums, "nuclear_px"))


def hv_mse_zero(sums: Sums) -> Value:
    """Mean squared error of predicting zero; about 0.24 on real nuclei."""
    return ratio(_column(sums, "hv_true_square"), 2 * _column(sums, "nuclear_px"))


def hv_skill(sums: Sums) -> Value:
    """1 - MSE / MSE of zero: 1 is perfect, 0 no better than zero, negative worse."""
    return 1 - ratio(_column(sums, "hv_square_error"), _column(sums, "hv_true_square"))


def hv_length(sums: Sums) -> Value:
    """Mean over nuclear pixels of sqrt(h^2 + v^2) as predicted; a perfect disc has about 0.67."""
    return ratio(_column(sums, "hv_length"), _column(sums, "nuclear_px"))


def hv_length_true(sums: Sums) -> Value:
    """Mean over nuclear pixels of sqrt(h^2 + v^2) of the truth."""
    return ratio(_column(sums, "hv_true_magnitude"), _column(sums, "nuclear_px"))


def nt_accuracy(sums: Sums) -> Value:
    """Part of the nuclear pixels whose class is right; NaN without nuclei."""
    return ratio(_column(sums, "nt_correct_px"), _column(sums, "nuclear_px"))


def nt_accuracy_majority(sums: Sums) -> Value:
    """Accuracy of answering the most frequent true class on all nuclear pixels."""
    by_class = np.stack([_column(sums, name) for name in CLASS_COLUMNS])
    return ratio(by_class.max(axis=0), _column(sums, "nuclear_px"))


def nt_accuracy_of_class(sums: Sums, nucleus_class: int) -> Value:
    """Accuracy of answering one class, 1..5, on all nuclear pixels; NaN without nuclei."""
    return ratio(_column(sums, CLASS_COLUMNS[nucleus_class]), _column(sums, "nuclear_px"))


FIGURES: Final[Mapping[str, Callable[[Sums], Value]]] = MappingProxyType(
    {
        figure.__name__: figure
        for figure in (
            np_dice,
            np_dice_all_foreground,
            hv_mse,
            hv_mse_zero,
            hv_skill,
            hv_length,
            hv_length_true,
            nt_accuracy,
            nt_accuracy_majority,
        )
    }
)
"""Every figure of the maps by name, as a function of summed rows."""


def _column(sums: Sums, name: str) -> Value:
    return sums[..., COLUMNS.index(name)]


def _vectors(
    hv: Float[np.ndarray, "b 2 hw"], tile: Int64[np.ndarray, " p"], pixel: Int64[np.ndarray, " p"]
) -> Float64[np.ndarray, "2 p"]:
    return np.stack([hv[tile, channel, pixel] for channel in range(2)]).astype(np.float64)


def _check_shapes(*maps: np.ndarray) -> None:
    np_prob, hv, nt, instances, classes, hv_true = (m.shape for m in maps)
    vectors = (*instances[:1], 2, *instances[1:])
    if len(instances) != 3 or (np_prob, nt, classes, hv, hv_true) != (instances,) * 3 + (vectors,) * 2:
        raise ContractError(
            "maps: expected (b, h, w) for probability, classes and instances and (b, 2, h, w) for HV, found "
            f"np_prob {np_prob}, hv {hv}, nt {nt}, instances {instances}, classes {classes}, hv_true {hv_true}. "
            "Pass NT as the predicted class of each pixel (argmax over its channels)."
        )
