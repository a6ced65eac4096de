"""Whether stored features are what the encoder gives: what was measured, what was expected, why it may differ."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from cellvit.config.encoders import Band
from cellvit.formats.documents import Check
from cellvit.formats.features import FeatureBatch

TOLERANCE: Final = 0.05
"""Largest relative deviation of recomputed features. Measured on random weights: storage in float16 0.0003, autocast to
float16 0.0015 and to bfloat16 0.012 (40 blocks), against 1.0 for another tile, 1.3 for swapped colours, 1.4 for a grid
shifted by the registers and 1.4 and more for another seed."""

_CONSTANT_SHARE: Final = 0.5
"""A grid is constant where this share of its channels has one value: a healthy encoder may have a few dead channels."""

_OTHER_WEIGHTS = "other weights, another seed, or tiles with their colours swapped when the features were made"

_OTHER_VIEW = "the view was made by turning the grid of another, its colours were drawn otherwise, or " + _OTHER_WEIGHTS


@dataclass(frozen=True, slots=True)
class Finding:
    """A check, whether it held, and what is likely to be wrong where it did not."""

    check: Check
    held: bool
    cause: str = ""


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """What one pass over a feature store shows.

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
    """Statistics of a store, read once; sums are in float64."""
    n_tiles, count, total, squares = 0, 0, 0.0, 0.0
    not_finite: list[int] = []
    constant: list[int] = []
    for batch in batches:
        cls = batch.cls.astype(np.float64)
        count, total, squares = count + cls.size, total + float(cls.sum()), squares + float((cls**2).sum())
        not_finite.extend(n_tiles + row for row in np.flatnonzero(~_finite(batch)).tolist())
        constant.extend(n_tiles + row for row in np.flatnonzero(_constant(batch)).tolist())
        n_tiles += len(batch)
    mean = total / count if count else np.nan
    variance = squares / count - mean**2 if count else np.nan
    return FeatureStatistics(n_tiles, float(np.sqrt(np.maximum(variance, 0))), tuple(not_finite), tuple(constant))


def judge_statistics(statistics: FeatureStatistics, band: Band) -> tuple[Finding, ...]:
    """Findings about the store as a whole; the band holds for any store that has tiles."""
    low, high = band
    std, empty = statistics.cls_std, not statistics.n_tiles
    return (
        _rows("finite values", statistics.not_finite, "arithmetic of the encoder overflowed; precision: bfloat16"),
        _rows(
            "tokens that vary over the tile", statistics.constant, "rows were never written, or the weights are empty"
        ),
        Finding(
            Check(name="standard deviation of CLS", expected=f"{low:g} to {high:g}", found=f"{std:.4g}"),
            held=empty or low <= std <= high,
            cause="tokens were taken before the final LayerNorm"
            if std < low
            else "colours overflowed or were scaled twice before the encoder, or tokens are not normalised",
        ),
    )


def judge_recomputed(
    stored: FeatureBatch, fresh: FeatureBatch, rows: tuple[int, ...], views: tuple[str, ...] = ("identity",)
) -> tuple[Finding, ...]:
    """Findings about features that were computed again for `rows`, view by view.

    Args:
        views: Name of each entry of the views axis.
    """
    return tuple(
        finding
        for place, view in enumerate(views)
        for finding in _judge_view(_of_view(stored, place), _of_view(fresh, place), rows, view, upright=not place)
    )


def judge_shape(found: dict[str, int], expected: dict[str, int]) -> tuple[Finding, ...]:
    """Findings about the number of tiles and the sizes of the axes."""
    return tuple(
        Finding(
            Check(name=f"size of {name}", expected=str(size), found=str(found[name])),
            held=found[name] == size,
            cause="tiles were lost or added" if name == "tiles" else "another encoder or other settings made them",
        )
        for name, size in expected.items()
    )


def _judge_view(
    stored: FeatureBatch, fresh: FeatureBatch, rows: tuple[int, ...], view: str, *, upright: bool
) -> tuple[Finding, ...]:
    cls, tokens = _cls_deviation(stored, fresh), _token_deviation(stored, fresh)
    moved = "the grid is shifted, flipped or transposed (registers counted as patches?), or these are other blocks"
    other = _OTHER_WEIGHTS if upright else _OTHER_VIEW
    named = f"(rows {', '.join(map(str, rows))}, view {view})"
    expected = f"relative deviation of at most {TOLERANCE:g}"
    return (
        Finding(
            Check(name=f"CLS as recomputed {named}", expected=expected, found=f"{cls:.4g}"),
            held=cls <= TOLERANCE,
            cause=other,
        ),
        Finding(
            Check(name=f"tokens as recomputed {named}", expected=expected, found=f"{tokens:.4g}"),
            held=tokens <= TOLERANCE,
            cause=moved if cls <= TOLERANCE else other,
        ),
    )


def _of_view(batch: FeatureBatch, place: int) -> FeatureBatch:
    return FeatureBatch(batch.cls[:, [place]], batch.tokens[:, [place]])


def _rows(name: str, rows: tuple[int, ...], cause: str) -> Finding:
    shown = f"{len(rows)} rows break it, first {rows[0]}" if rows else "all rows"
    return Finding(Check(name=name, expected="all rows", found=shown), held=not rows, cause=cause)


def _finite(batch: FeatureBatch) -> np.ndarray:
    cls = np.isfinite(batch.cls).all(axis=(1, 2))
    return np.asarray(cls & np.isfinite(batch.tokens).all(axis=(1, 2, 3, 4, 5)))


def _constant(batch: FeatureBatch) -> np.ndarray:
    bits = batch.tokens.view(np.uint16)  # comparing float16 costs ten times as much
    still = (bits == bits[:, :, :, :1, :1, :]).all(axis=(3, 4))  # (b, views, blocks, dim)
    return np.asarray((still.mean(axis=3) > _CONSTANT_SHARE).any(axis=(1, 2)))


def _cls_deviation(stored: FeatureBatch, fresh: FeatureBatch) -> float:
    """Root mean square of the difference by that of the fresh CLS tokens."""
    return _ratio(stored.cls - fresh.cls, fresh.cls)


def _token_deviation(stored: FeatureBatch, fresh: FeatureBatch) -> float:
    """As for CLS, but by the spread of each channel over tiles and cells, and of the block that deviates most.

    What all cells share is taken off, else a shifted grid would hide behind it.
    """
    kept, new = stored.tokens.astype(np.float64), fresh.tokens.astype(np.float64)
    spread = new - new.mean(axis=(0, 1, 3, 4), keepdims=True)
    deviations = [_ratio((kept - new)[:, :, block], spread[:, :, block]) for block in range(new.shape[2])]
    return float(np.max(deviations))


def _ratio(difference: np.ndarray, reference: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(difference)) / np.mean(np.square(reference))))
