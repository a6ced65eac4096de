"""Scores of tiles -> values of metrics with intervals, as published and in the variants that papers report.

Conventions: `dice`, `aji`, `aji_plus`, `dq`, `sq`, `pq` and the class PQs are means over tiles; `bpq`, `bpq_1px`, `mpq` and
`mpq_strict` are means over tiles, then over organs (`bpq_image`, `mpq_image`: over tiles alone); all other metrics add
counts or sums over all tiles and divide once. `n` is the number of tiles on which a metric is defined, for pooled ones of
tiles that contribute. Intervals are over patients with all their tiles if any is known (`TileScores.groups`), else over
tiles.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.annotated import counts_by_tile, scored
from cellvit.evaluation.scoring import (
    CALIBRATION_COLUMNS,
    OUTLINE_COLUMNS,
    class_keys_of,
    class_pq_columns,
    pair_columns,
    panoptic_columns,
)
from cellvit.formats.documents import Value, Values
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import Groups
from cellvit.metrics.agreement import count_bias, count_concordance, count_limit, moments
from cellvit.metrics.classification import calibration_error_of_sums
from cellvit.metrics.detection import Scores, class_scores, detection_scores
from cellvit.metrics.intervals import (
    MIN_UNITS,
    Interval,
    Scale,
    Statistic,
    interval_of_mean,
    interval_of_organ_mean,
    interval_of_sums,
)
from cellvit.metrics.maps import METRICS as METRICS_OF_MAPS
from cellvit.metrics.maps import MapSums, class_px, nt_accuracy_of_class
from cellvit.metrics.maps import columns_of as map_columns
from cellvit.metrics.pannuke import pooled_mpq_of_sums
from cellvit.metrics.ratio import ratio

Measure = Callable[[TileScores], Interval]

MAP_METRICS: Final = ("np_dice", "hv_mse", "hv_skill", "hv_angle", "hv_length", "nt_accuracy")
"""Metrics of the maps before any watershed."""

GAP_METRICS: Final = ("np_dice", "hv_mse", "nt_accuracy")
"""Metrics whose gap from training to test is reported."""

ORGAN_METRICS: Final = ("dice", "aji", "pq", "bpq", "mpq")
"""Metrics that are also reported by organ, beside the PQ of each class and the F1 of detection."""

PAIRED_METRICS: Final = ("aji", "bpq", "mpq")
"""Metrics whose difference from another system on the same tiles is reported."""

_MAP_SCALES: Final = MappingProxyType[str, Scale](
    {"hv_mse": "positive", "hv_angle": "positive", "hv_length": "positive", "hv_skill": "at_most_one"}
)
"""Values that metrics of maps can have, unless they are shares."""

_OVER_ORGANS: Final = ("bpq", "mpq")
"""Paired metrics that are means over tiles and then over organs."""


def metric_values(tiles: TileScores) -> Values:
    """Every metric of a system; those of maps and the calibration only if it has maps and probabilities."""
    values = {name: value_of(measure(tiles)) for name, measure in _segmentation(class_keys_of(tiles)).items()}
    if not np.isnan(tiles.block(CALIBRATION_COLUMNS)).any():
        values["class_calibration_error"] = value_of(_calibration(tiles))
    if has_maps(tiles):
        values |= map_values(map_sums_of(tiles), groups=tiles.groups)
    return values


def values_by_organ(tiles: TileScores) -> dict[str, Values]:
    """The main metrics of each organ that has tiles; nothing where no tile names its organ."""
    organs = sorted(set(tiles.text("organ")) - {""})
    names = (*ORGAN_METRICS, *class_pq_columns(class_keys_of(tiles)), "detection_f1")
    return {organ: segmentation_values(tiles.where(tiles.organs == organ), names) for organ in organs}


def segmentation_values(tiles: TileScores, names: Iterable[str]) -> Values:
    """The metrics `names` of segmented nuclei."""
    measures = _segmentation(class_keys_of(tiles))
    return {name: value_of(measures[name](tiles)) for name in names}


def map_values(sums: MapSums, *, groups: Groups) -> Values:
    """Metrics of NP, HV and NT maps; `groups` are those of the tiles."""
    return {name: _of_maps(name, METRICS_OF_MAPS[name], sums, groups) for name in MAP_METRICS}


def trivial_values(sums: MapSums, *, groups: Groups) -> Values:
    """All foreground, HV of zero and the majority class, on the same tiles.

    The majority class is that of all tiles, also without one of the patients.
    """
    statistics: dict[str, Statistic] = {
        "np_dice": METRICS_OF_MAPS["np_dice_all_foreground"],
        "hv_mse": METRICS_OF_MAPS["hv_mse_zero"],
        "nt_accuracy": partial(nt_accuracy_of_class, nucleus_class=majority_class(sums)),
    }
    return {name: _of_maps(name, statistic, sums, groups) for name, statistic in statistics.items()}


def has_maps(tiles: TileScores) -> bool:
    """True if every tile has the sums of its maps."""
    return not np.isnan(map_sums_of(tiles).rows).any()


def map_sums_of(tiles: TileScores) -> MapSums:
    """Sums of the maps of scored tiles."""
    return MapSums(tiles.block(map_columns(len(class_keys_of(tiles)))))


def differences(tiles: TileScores, others: Mapping[str, TileScores]) -> Values:
    """Paired differences ``{metric}_minus_{system}`` from other systems on the tiles that both have scored.

    Tiles are paired by id; a tile on which one of both is undefined is left out. AJI is a mean over tiles, bPQ and mPQ
    are means over tiles and then organs. Positive: `tiles` is better.
    """
    values = {}
    for system, other in others.items():
        mine, theirs = paired(tiles, other)
        for metric in PAIRED_METRICS:
            difference = mine.column(metric) - theirs.column(metric)
            organs = mine.organs if metric in _OVER_ORGANS else np.zeros(len(mine), np.int64)
            interval = interval_of_organ_mean(difference, organs, scale="real", groups=mine.groups)
            values[f"{metric}_minus_{system}"] = value_of(interval)
    return values


def paired(first: TileScores, second: TileScores) -> tuple[TileScores, TileScores]:
    """The tiles that both have, in the order of the first."""
    row_of = {tile_id: row for row, tile_id in enumerate(second.text("tile_id"))}
    mine = first.where(np.array([tile_id in row_of for tile_id in first.text("tile_id")], bool))
    return mine, second.rows(np.array([row_of[tile_id] for tile_id in mine.text("tile_id")], np.int64))


def gaps(train: MapSums, test: MapSums, *, groups: Groups) -> Values:
    """Relative gap of each of `GAP_METRICS`, positive if the test is worse; NaN if the value in training is 0.

    Accuracies: (train - test) / train. Errors: (test - train) / train. `n` counts the tiles of training and test
    together. The interval is NaN if one of them has fewer than three patients (or tiles).

    Args:
        groups: Of the training tiles, then of the test tiles, numbered together.
    """
    both = np.block([[train.rows, 0 * train.rows], [0 * test.rows, test.rows]])
    units = np.arange(len(both)) if groups is None else groups
    sides = (np.split(of_tiles, [len(train.rows)]) for of_tiles in (units, both.any(axis=1)))
    n_units = min(len(np.unique(part[scored_tiles])) for part, scored_tiles in zip(*sides, strict=True))
    found = {}
    for name in GAP_METRICS:
        interval = _counted(interval_of_sums(partial(_gap, name), both, scale="real", groups=groups), both)
        found[name] = value_of(interval if n_units >= MIN_UNITS else interval._replace(low=math.nan, high=math.nan))
    return found


def class_confusion(tiles: TileScores) -> tuple[tuple[int, ...], ...]:
    """Nuclei by true (row) and predicted (column) class, paired within the radius, as `cellvit.metrics.detection.pair_table`.

    Row and column 0 are nuclei without a class; the last row are false nuclei, the last column missed ones.
    """
    n_classes = len(class_keys_of(tiles))
    rows = tiles.block(pair_columns(n_classes, near=True))
    table = rows.sum(axis=0).reshape(n_classes + 2, n_classes + 2).astype(np.int64)
    return tuple(tuple(row) for row in table.tolist())


def majority_class(sums: MapSums) -> int:
    """Nuclear class (from 1 on) of the most nuclear pixels; the smaller number in a tie."""
    return 1 + int(class_px(sums.rows)[:, 1:].sum(axis=0).argmax())


def value_of(interval: Interval) -> Value:
    """An interval as documents record it."""
    return Value(**interval._asdict())


def _tile_mean(column: str, tiles: TileScores) -> Interval:
    return interval_of_mean(tiles.column(column), groups=tiles.groups)


def _organ_mean(column: str, tiles: TileScores) -> Interval:
    return interval_of_organ_mean(tiles.column(column), tiles.organs, groups=tiles.groups)


def _pooled_mpq(tiles: TileScores) -> Interval:
    keys = class_keys_of(tiles)
    rows = tiles.block(panoptic_columns(keys))

    def quality(sums: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, " r"]:
        return pooled_mpq_of_sums(sums.reshape(-1, len(keys), 4))

    return _counted(interval_of_sums(quality, rows, groups=tiles.groups), rows)


def _detected(score: str, nucleus_class: int | None, tiles: TileScores, *, near: bool = False) -> Interval:
    n_classes = len(class_keys_of(tiles))
    rows = tiles.block(pair_columns(n_classes, near=near))
    interval = interval_of_sums(partial(_detection, score, nucleus_class, n_classes), rows, groups=tiles.groups)
    return _counted(interval, rows if nucleus_class is None else rows[:, _pairs_of(nucleus_class, n_classes)])


def _pairs_of(nucleus_class: int, n_classes: int) -> list[int]:
    """Columns of a table of pairs in which a class takes part."""
    pairs = np.ndindex(n_classes + 2, n_classes + 2)
    return [place for place, pair in enumerate(pairs) if nucleus_class in pair]


def _agreement(statistic: Statistic, scale: Scale, key: str, tiles: TileScores) -> Interval:
    """Agreement of the counts of nuclei of a class, or of all (empty key), over all scored tiles."""
    tiles = scored(tiles)
    return interval_of_sums(statistic, moments(*counts_by_tile(tiles, key)), scale=scale, groups=tiles.groups)


def _outline_mean(column: str, tiles: TileScores) -> Interval:
    rows = tiles.block(("outlined", column))
    interval = interval_of_sums(lambda sums: ratio(sums[:, 1], sums[:, 0]), rows, scale="positive", groups=tiles.groups)
    return _counted(interval, rows)


def _calibration(tiles: TileScores) -> Interval:
    rows = tiles.block(CALIBRATION_COLUMNS)
    return _counted(interval_of_sums(calibration_error_of_sums, rows, groups=tiles.groups), rows)


def _counted(interval: Interval, rows: Float64[np.ndarray, "n k"]) -> Interval:
    """The interval, with the number of tiles that contribute to the sums as its n."""
    return interval._replace(n=int(rows.any(axis=1).sum()))


def _detection(
    score: str, nucleus_class: int | None, n_classes: int, sums: Float64[np.ndarray, "r k"]
) -> Float64[np.ndarray, " r"]:
    tables = sums.reshape(-1, n_classes + 2, n_classes + 2)
    scores = detection_scores(tables) if nucleus_class is None else class_scores(tables, nucleus_class)
    value: Float64[np.ndarray, " r"] = getattr(scores, score)
    return value


def _gap(name: str, sums: Float64[np.ndarray, "r 2*k"]) -> Float64[np.ndarray, " r"]:
    train, test = (METRICS_OF_MAPS[name](half) for half in np.split(sums, 2, axis=1))
    worse = test - train if name == "hv_mse" else train - test
    gap: Float64[np.ndarray, " r"] = np.full(train.shape, np.nan)
    np.divide(worse, train, out=gap, where=train != 0)
    return gap


def _of_maps(name: str, statistic: Statistic, sums: MapSums, groups: Groups) -> Value:
    scale = _MAP_SCALES.get(name, "share")
    return value_of(_counted(interval_of_sums(statistic, sums.rows, scale=scale, groups=groups), sums.rows))


_AGREEMENT: Final[Mapping[str, tuple[Statistic, Scale]]] = MappingProxyType(
    {
        "count_bias": (count_bias, "real"),
        "count_limit": (count_limit, "positive"),
        "count_concordance": (count_concordance, "correlation"),
    }
)
"""Agreement of the counts of nuclei by tile."""


@lru_cache
def _segmentation(keys: tuple[str, ...]) -> Mapping[str, Measure]:
    """Metrics of segmented nuclei by name, given the keys of the classes."""
    tile_means = ("dice", "aji", "aji_plus", "dq", "sq", "pq", *class_pq_columns(keys))
    measures: dict[str, Measure] = {name: partial(_tile_mean, name) for name in tile_means}
    measures |= {
        "bpq": partial(_organ_mean, "bpq"),
        "bpq_image": partial(_tile_mean, "bpq"),
        "bpq_1px": partial(_organ_mean, "bpq_1px"),
        "mpq": partial(_organ_mean, "mpq"),
        "mpq_image": partial(_tile_mean, "mpq"),
        "mpq_strict": partial(_organ_mean, "mpq_strict"),
        "mpq_pooled": _pooled_mpq,
    }
    for score in Scores._fields:
        measures[f"detection_{score}"] = partial(_detected, score, None)
    for score in Scores._fields:
        measures[f"detection_near_{score}"] = partial(_detected, score, None, near=True)
    for number, key in enumerate(keys, start=1):
        measures |= {f"{score}_{key}": partial(_detected, score, number) for score in Scores._fields}
    measures |= {name: partial(_outline_mean, name) for name in OUTLINE_COLUMNS[1:]}
    for key in ("", *keys):
        for name, (statistic, scale) in _AGREEMENT.items():
            measures[f"{name}_{key}" if key else name] = partial(_agreement, statistic, scale, key)
    return MappingProxyType(measures)
