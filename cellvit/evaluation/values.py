"""Scores of tiles -> values of metrics with intervals, as published and in the variants that papers report.

Conventions: `dice`, `aji`, `aji_plus`, `dq`, `sq`, `pq` and the class PQs are means over tiles; `bpq`, `bpq_1px`, `mpq` and
`mpq_strict` are means over tiles, then over organs (`bpq_image`, `mpq_image`: over tiles alone); all other metrics add
counts or sums over all tiles and divide once. `n` is the number of tiles on which a metric is defined, for pooled ones of
tiles that contribute. Intervals are over patients with all their tiles if any is known (`TileScores.groups`), else over
tiles.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.scoring import (
    CALIBRATION_COLUMNS,
    CLASS_KEYS,
    CLASS_PQ_COLUMNS,
    NEAR_PAIR_COLUMNS,
    OUTLINE_COLUMNS,
    PAIR_COLUMNS,
    PANOPTIC_COLUMNS,
)
from cellvit.formats.documents import Value, Values
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import Groups
from cellvit.metrics.agreement import count_bias, count_concordance, count_limit, moments
from cellvit.metrics.classification import calibration_error_of_sums
from cellvit.metrics.detection import UNPAIRED, Scores, class_scores, detection_scores
from cellvit.metrics.intervals import (
    MIN_UNITS,
    Interval,
    Scale,
    Statistic,
    interval_of_mean,
    interval_of_organ_mean,
    interval_of_sums,
)
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.maps import METRICS as METRICS_OF_MAPS
from cellvit.metrics.maps import MapSums, nt_accuracy_of_class
from cellvit.metrics.pannuke import pooled_mpq_of_sums
from cellvit.metrics.ratio import ratio
from cellvit.taxonomy import NUCLEUS_CLASSES

Measure = Callable[[TileScores], Interval]

MAP_METRICS: Final = ("np_dice", "hv_mse", "hv_skill", "hv_angle", "hv_length", "nt_accuracy")
"""Metrics of the maps before any watershed."""

GAP_METRICS: Final = ("np_dice", "hv_mse", "nt_accuracy")
"""Metrics whose gap from training to test is reported."""

ORGAN_METRICS: Final = ("dice", "aji", "pq", "bpq", "mpq", *CLASS_PQ_COLUMNS, "detection_f1")
"""Metrics that are also reported by organ."""

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
    values = {name: value_of(measure(tiles)) for name, measure in _SEGMENTATION.items()}
    if not np.isnan(tiles.block(CALIBRATION_COLUMNS)).any():
        values["class_calibration_error"] = value_of(_calibration(tiles))
    if has_maps(tiles):
        values |= map_values(map_sums_of(tiles), groups=tiles.groups)
    return values


def values_by_organ(tiles: TileScores) -> dict[str, Values]:
    """The main metrics of each organ that has tiles."""
    parts = {organ: tiles.where(tiles.organs == organ) for organ in sorted(set(tiles.text("organ")))}
    return {organ: segmentation_values(part, ORGAN_METRICS) for organ, part in parts.items()}


def segmentation_values(tiles: TileScores, names: Iterable[str]) -> Values:
    """The metrics `names` of segmented nuclei."""
    return {name: value_of(_SEGMENTATION[name](tiles)) for name in names}


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
    return not np.isnan(tiles.block(MAP_COLUMNS)).any()


def map_sums_of(tiles: TileScores) -> MapSums:
    """Sums of the maps of scored tiles."""
    return MapSums(tiles.block(MAP_COLUMNS))


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
    pad_train, pad_test = np.zeros_like(train.rows), np.zeros_like(test.rows)
    both = np.block([[train.rows, pad_train], [pad_test, test.rows]])
    units = np.arange(len(both)) if groups is None else groups
    n_units = min(len(np.unique(part)) for part in np.split(units, [len(train.rows)]))
    found = {}
    for name in GAP_METRICS:
        interval = interval_of_sums(partial(_gap, name), both, scale="real", groups=groups)
        found[name] = value_of(interval if n_units >= MIN_UNITS else interval._replace(low=math.nan, high=math.nan))
    return found


def class_confusion(tiles: TileScores) -> tuple[tuple[int, ...], ...]:
    """Nuclei by true (row) and predicted (column) class, paired within the radius, as `cellvit.metrics.detection.pair_table`.

    Row and column 0 are nuclei without a class; the last row are false nuclei, the last column missed ones.
    """
    table = tiles.block(NEAR_PAIR_COLUMNS).sum(axis=0).reshape(UNPAIRED + 1, UNPAIRED + 1).astype(np.int64)
    return tuple(tuple(row) for row in table.tolist())


def majority_class(sums: MapSums) -> int:
    """Nuclear class (1..5) of the most nuclear pixels; the smaller number in a tie."""
    by_class = [sums.rows[:, MAP_COLUMNS.index(f"class_{int(number)}_px")].sum() for number in NUCLEUS_CLASSES]
    return int(NUCLEUS_CLASSES[int(np.argmax(by_class))])


def value_of(interval: Interval) -> Value:
    """An interval as documents record it."""
    return Value(**interval._asdict())


def _tile_mean(column: str, tiles: TileScores) -> Interval:
    return interval_of_mean(tiles.column(column), groups=tiles.groups)


def _organ_mean(column: str, tiles: TileScores) -> Interval:
    return interval_of_organ_mean(tiles.column(column), tiles.organs, groups=tiles.groups)


def _pooled_mpq(tiles: TileScores) -> Interval:
    rows = tiles.block(PANOPTIC_COLUMNS)

    def quality(sums: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, " r"]:
        return pooled_mpq_of_sums(sums.reshape(-1, len(NUCLEUS_CLASSES), 4))

    return _counted(interval_of_sums(quality, rows, groups=tiles.groups), rows)


def _detected(score: str, nucleus_class: int | None, columns: tuple[str, ...], tiles: TileScores) -> Interval:
    rows = tiles.block(columns)
    interval = interval_of_sums(partial(_detection, score, nucleus_class), rows, groups=tiles.groups)
    return _counted(interval, rows if nucleus_class is None else rows[:, _PAIRS_OF[nucleus_class]])


def _agreement(statistic: Statistic, scale: Scale, key: str, tiles: TileScores) -> Interval:
    """Agreement of the counts of nuclei of a class, or of all (empty key), over all tiles."""
    if key:
        true, predicted = (tiles.column(f"tp_{key}") + tiles.column(f"{side}_{key}") for side in ("fn", "fp"))
    else:
        true, predicted = tiles.column("n_true"), tiles.column("n_predicted")
    return interval_of_sums(statistic, moments(true, predicted), scale=scale, groups=tiles.groups)


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


def _detection(score: str, nucleus_class: int | None, sums: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, " r"]:
    tables = sums.reshape(-1, UNPAIRED + 1, UNPAIRED + 1)
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
    return value_of(interval_of_sums(statistic, sums.rows, scale=scale, groups=groups))


_PAIRS_OF: Final = MappingProxyType(
    {
        int(number): [place for place, pair in enumerate(np.ndindex(UNPAIRED + 1, UNPAIRED + 1)) if int(number) in pair]
        for number in NUCLEUS_CLASSES
    }
)
"""Columns of a table of pairs in which a class takes part."""

_AGREEMENT: Final[Mapping[str, tuple[Statistic, Scale]]] = MappingProxyType(
    {
        "count_bias": (count_bias, "real"),
        "count_limit": (count_limit, "positive"),
        "count_concordance": (count_concordance, "correlation"),
    }
)
"""Agreement of the counts of nuclei by tile."""

_SEGMENTATION: Final[Mapping[str, Measure]] = MappingProxyType(
    {
        **{
            name: partial(_tile_mean, name) for name in ("dice", "aji", "aji_plus", "dq", "sq", "pq", *CLASS_PQ_COLUMNS)
        },
        "bpq": partial(_organ_mean, "bpq"),
        "bpq_image": partial(_tile_mean, "bpq"),
        "bpq_1px": partial(_organ_mean, "bpq_1px"),
        "mpq": partial(_organ_mean, "mpq"),
        "mpq_image": partial(_tile_mean, "mpq"),
        "mpq_strict": partial(_organ_mean, "mpq_strict"),
        "mpq_pooled": _pooled_mpq,
        **{f"detection_{score}": partial(_detected, score, None, PAIR_COLUMNS) for score in Scores._fields},
        **{f"detection_near_{score}": partial(_detected, score, None, NEAR_PAIR_COLUMNS) for score in Scores._fields},
        **{
            f"{score}_{key}": partial(_detected, score, int(number), PAIR_COLUMNS)
            for key, number in zip(CLASS_KEYS, NUCLEUS_CLASSES, strict=True)
            for score in Scores._fields
        },
        **{name: partial(_outline_mean, name) for name in OUTLINE_COLUMNS[1:]},
        **{
            f"{name}_{key}" if key else name: partial(_agreement, statistic, scale, key)
            for key in ("", *CLASS_KEYS)
            for name, (statistic, scale) in _AGREEMENT.items()
        },
    }
)
"""Metrics of segmented nuclei by name."""
