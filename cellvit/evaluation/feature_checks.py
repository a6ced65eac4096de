"""Checks that stored features are those of the encoder, with the likely cause of each failure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cellvit.config.encoders import FeaturesSettings
from cellvit.config.presets import Band
from cellvit.evaluation.checks import CheckResult
from cellvit.formats.features import FeatureBatch
from cellvit.formats.hdf5 import Rows
from cellvit.models.encoder import Encoder

TOLERANCE: Final = 0.05
"""Largest relative deviation of recomputed features. Measured on random weights: storage in float16 0.0003, autocast to
float16 0.0015 and to bfloat16 0.012 (40 blocks), against 1.0 for another tile, 1.3 for swapped colours, 1.4 for a grid
shifted by the registers and 1.4 or more for another seed."""

_CONSTANT_SHARE: Final = 0.5
"""A grid is constant if this share of its channels has a single value: a healthy encoder may have a few dead channels."""

_OTHER_WEIGHTS = "other weights, another seed, or tiles with swapped colours during the extraction"

_OTHER_VIEW = "the grid of another view was rotated, the colours were sampled differently, or " + _OTHER_WEIGHTS


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Result of one pass over a feature store.

    Attributes:
        cls_std: Standard deviation over all CLS values; NaN without tiles.
        not_finite: Rows with a value that is not finite.
        constant: Rows with a token grid that does not vary.
    """

    n_tiles: int
    cls_std: float
    not_finite: tuple[int, ...]
    constant: tuple[int, ...]


def feature_statistics(batches: Iterable[FeatureBatch]) -> FeatureStatistics:
    """Statistics of a store that is read once; sums are in float64."""
    n_tiles, count, total, squares = 0, 0, 0.0, 0.0
    not_finite: list[int] = []
    constant: list[int] = []
    for batch in batches:
        cls = batch.cls.astype(np.float64)
        count, total, squares = count + cls.size, total + float(cls.sum()), squares + float((cls**2).sum())
        finite = np.isfinite(batch.cls).all(axis=(1, 2)) & np.isfinite(batch.tokens).all(axis=(1, 2, 3, 4, 5))
        not_finite.extend(n_tiles + row for row in np.flatnonzero(~finite).tolist())
        constant.extend(n_tiles + row for row in np.flatnonzero(_constant(batch)).tolist())
        n_tiles += len(batch)
    mean = total / count if count else np.nan
    variance = squares / count - mean**2 if count else np.nan
    return FeatureStatistics(n_tiles, float(np.sqrt(np.maximum(variance, 0))), tuple(not_finite), tuple(constant))


def check_statistics(statistics: FeatureStatistics, band: Band) -> list[CheckResult]:
    """Checks of the store as a whole; a store without tiles passes them."""
    (low, high), std = band, statistics.cls_std
    return [
        _of_rows("finite values", statistics.not_finite, "overflow in the encoder; set features.precision: bfloat16"),
        _of_rows("tokens that vary over the tile", statistics.constant, "rows were not written, or weights are zero"),
        CheckResult(
            "standard deviation of CLS",
            f"{low:g} to {high:g}",
            f"{std:.4g}",
            not statistics.n_tiles or low <= std <= high,
            "tokens that are not normalised, as those from before the final LayerNorm"
            if std < low
            else "colours that overflowed or were scaled twice, or tokens that are not normalised",
        ),
    ]


def check_recomputed(
    stored: FeatureBatch, recomputed: FeatureBatch, rows: Sequence[int], views: Sequence[str] = ("identity",)
) -> list[CheckResult]:
    """Comparison of stored features with those that were computed again for `rows`, view by view.

    Args:
        views: Name of each entry of the views axis.
    """
    return [
        result
        for place, view in enumerate(views)
        for result in _check_view(
            FeatureBatch(stored.cls[:, [place]], stored.tokens[:, [place]]),
            FeatureBatch(recomputed.cls[:, [place]], recomputed.tokens[:, [place]]),
            f"(rows {', '.join(map(str, rows))}, view {view})",
            _OTHER_VIEW if place else _OTHER_WEIGHTS,
        )
    ]


def check_sizes(features: Rows, n_tiles: int, encoder: Encoder, asked: FeaturesSettings) -> list[CheckResult]:
    """Checks of the number of tiles and of the sizes of the axes."""
    sizes = {"tiles": n_tiles, "views": asked.n_views, "blocks": len(encoder.blocks), "grid": encoder.grid}
    n, views, blocks, grid, _, dim = features.shape("tokens")
    cause = "tiles were lost or added, or another encoder or other settings were used"
    return [
        CheckResult(f"size of {name}", str(expected), str(found), found == expected, cause)
        for (name, expected), found in zip(
            (sizes | {"dim": encoder.dim}).items(), (n, views, blocks, grid, dim), strict=True
        )
    ]


def _check_view(stored: FeatureBatch, recomputed: FeatureBatch, where: str, other: str) -> list[CheckResult]:
    cls, tokens = _ratio(stored.cls - recomputed.cls, recomputed.cls), _token_deviation(stored, recomputed)
    moved = "the grid is shifted, flipped or transposed (registers counted as patches?), or the blocks are others"
    expected, cause = f"relative deviation of at most {TOLERANCE:g}", moved if cls <= TOLERANCE else other
    return [
        CheckResult(f"recomputed CLS {where}", expected, f"{cls:.4g}", cls <= TOLERANCE, other),
        CheckResult(f"recomputed tokens {where}", expected, f"{tokens:.4g}", tokens <= TOLERANCE, cause),
    ]  # NaN is not within the tolerance


def _of_rows(name: str, failing: tuple[int, ...], cause: str) -> CheckResult:
    found = f"all but {len(failing)} rows, the first of which is {failing[0]}" if failing else "all rows"
    return CheckResult(name, "all rows", found, not failing, cause)


def _constant(batch: FeatureBatch) -> np.ndarray:
    bits = batch.tokens.view(np.uint16)  # a comparison in float16 takes ten times as long
    still = (bits == bits[:, :, :, :1, :1, :]).all(axis=(3, 4))  # (b, views, blocks, dim)
    return np.asarray((still.mean(axis=3) > _CONSTANT_SHARE).any(axis=(1, 2)))


def _token_deviation(stored: FeatureBatch, recomputed: FeatureBatch) -> float:
    """The largest of all blocks, relative to the spread of each channel over tiles and cells.

    The mean over all cells is subtracted, because it would hide a shifted grid.
    """
    old, new = stored.tokens.astype(np.float64), recomputed.tokens.astype(np.float64)
    spread = new - new.mean(axis=(0, 1, 3, 4), keepdims=True)
    deviations = [_ratio((old - new)[:, :, block], spread[:, :, block]) for block in range(new.shape[2])]
    return float(np.max(deviations))


def _ratio(difference: np.ndarray, reference: np.ndarray) -> float:
    """Root mean square of the difference, divided by that of the reference."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(difference)) / np.mean(np.square(reference))))
