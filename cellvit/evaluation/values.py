"""Scores of tiles -> values of metrics with intervals, as published and in the variants that papers report.

Conventions: `dice`, `aji`, `aji_plus`, `dq`, `sq`, `pq` and the class PQs are means over tiles; `bpq`, `mpq` and
`mpq_strict` are means over tiles, then over organs (`bpq_image`, `mpq_image`: over tiles alone); `mpq_pooled`, the
detection metrics and the metrics of maps add counts over all tiles and divide once. `n` is the number of tiles on which a
metric is defined, for pooled ones of tiles that contribute. All intervals of a set use the same samples of tiles, from
the same seed; patients with all their tiles are sampled if any is known (`TileScores.groups`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.scoring import CLASS_KEYS, CLASS_PQ_COLUMNS, PAIR_COLUMNS, PANOPTIC_COLUMNS
from cellvit.formats.documents import Value, Values
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import Groups
from cellvit.metrics.detection import UNPAIRED, class_scores, detection_scores
from cellvit.metrics.intervals import Interval, Statistic, bootstrap, bootstrap_mean, bootstrap_organ_mean
from cellvit.metrics.maps import COLUMNS as MAP_COLUMNS
from cellvit.metrics.maps import METRICS as METRICS_OF_MAPS
from cellvit.metrics.maps import MapSums, nt_accuracy_of_class
from cellvit.metrics.pannuke import pooled_mpq_of_sums
from cellvit.taxonomy import NUCLEUS_CLASSES

Measure = Callable[[TileScores, np.random.Generator], Interval]

MAP_METRICS: Final = ("np_dice", "hv_mse", "hv_skill", "hv_angle", "hv_length", "nt_accuracy")
"""Metrics of the maps before any watershed."""

GAP_METRICS: Final = ("np_dice", "hv_mse", "nt_accuracy")
"""Metrics whose gap from training to test is reported."""

ORGAN_METRICS: Final = ("dice", "aji", "pq", "bpq", "mpq", *CLASS_PQ_COLUMNS, "detection_f1")
"""Metrics that are also reported by organ."""

PAIRED_METRICS: Final = ("aji", "bpq", "mpq")
"""Metrics whose difference from another system on the same tiles is reported."""

_OVER_ORGANS: Final = ("bpq", "mpq")
"""Paired metrics that are means over tiles and then over organs."""


def metric_values(tiles: TileScores, *, seed: int) -> Values:
    """Every metric of a system; those of maps only if it has maps."""
    values = {name: value_of(measure(tiles, _rng(seed))) for name, measure in _SEGMENTATION.items()}
    if has_maps(tiles):
        values |= map_values(map_sums_of(tiles), seed=seed, groups=tiles.groups)
    return values


def values_by_organ(tiles: TileScores, *, seed: int) -> dict[str, Values]:
    """The main metrics of each organ that has tiles."""
    parts = {organ: tiles.where(tiles.organs == organ) for organ in sorted(set(tiles.text("organ")))}
    return {
        organ: {name: value_of(_SEGMENTATION[name](part, _rng(seed))) for name in ORGAN_METRICS}
        for organ, part in parts.items()
    }


def map_values(sums: MapSums, *, seed: int, groups: Groups) -> Values:
    """Metrics of NP, HV and NT maps; `groups` are those of the tiles."""
    return {name: _of_maps(METRICS_OF_MAPS[name], sums, seed, groups) for name in MAP_METRICS}


def trivial_values(sums: MapSums, *, seed: int, groups: Groups) -> Values:
    """All foreground, HV of zero and the majority class, on the same tiles.

    The majority class is that of all tiles in every sample; otherwise an interval could lie above its own value.
    """
    statistics: dict[str, Statistic] = {
        "np_dice": METRICS_OF_MAPS["np_dice_all_foreground"],
        "hv_mse": METRICS_OF_MAPS["hv_mse_zero"],
        "nt_accuracy": partial(nt_accuracy_of_class, nucleus_class=majority_class(sums)),
    }
    return {name: _of_maps(statistic, sums, seed, groups) for name, statistic in statistics.items()}


def has_maps(tiles: TileScores) -> bool:
    """True if every tile has the sums of its maps."""
    return not np.isnan(tiles.block(MAP_COLUMNS)).any()


def map_sums_of(tiles: TileScores) -> MapSums:
    """Sums of the maps of scored tiles."""
    return MapSums(tiles.block(MAP_COLUMNS))


def differences(tiles: TileScores, others: Mapping[str, TileScores], *, seed: int) -> Values:
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
            interval = bootstrap_organ_mean(difference, organs, rng=_rng(seed), groups=mine.groups)
            values[f"{metric}_minus_{system}"] = value_of(interval)
    return values


def paired(first: TileScores, second: TileScores) -> tuple[TileScores, TileScores]:
    """The tiles that both have, in the order of the first."""
    row_of = {tile_id: row for row, tile_id in enumerate(second.text("tile_id"))}
    mine = first.where(np.array([tile_id in row_of for tile_id in first.text("tile_id")], bool))
    return mine, second.rows(np.array([row_of[tile_id] for tile_id in mine.text("tile_id")], np.int64))


def gaps(train: MapSums, test: MapSums, *, seed: int, groups: Groups) -> Values:
    """Relative gap of each of `GAP_METRICS`, positive if the test is worse; NaN if the value in training is 0.

    Accuracies: (train - test) / train. Errors: (test - train) / train. `n` counts the tiles of both.

    Args:
        groups: Of the training tiles, then of the test tiles, numbered together.
    """
    pad_train, pad_test = np.zeros_like(train.rows), np.zeros_like(test.rows)
    both = np.block([[train.rows, pad_train], [pad_test, test.rows]])
    return {name: value_of(bootstrap(partial(_gap, name), both, rng=_rng(seed), groups=groups)) for name in GAP_METRICS}


def majority_class(sums: MapSums) -> int:
    """Nuclear class (1..5) of the most nuclear pixels; the smaller number in a tie."""
    by_class = [sums.rows[:, MAP_COLUMNS.index(f"class_{int(number)}_px")].sum() for number in NUCLEUS_CLASSES]
    return int(NUCLEUS_CLASSES[int(np.argmax(by_class))])


def value_of(interval: Interval) -> Value:
    """An interval as documents record it."""
    return Value(**interval._asdict())


def _tile_mean(column: str, tiles: TileScores, rng: np.random.Generator) -> Interval:
    return bootstrap_mean(tiles.column(column), rng=rng, groups=tiles.groups)


def _organ_mean(column: str, tiles: TileScores, rng: np.random.Generator) -> Interval:
    return bootstrap_organ_mean(tiles.column(column), tiles.organs, rng=rng, groups=tiles.groups)


def _pooled_mpq(tiles: TileScores, rng: np.random.Generator) -> Interval:
    rows = tiles.block(PANOPTIC_COLUMNS)

    def quality(sums: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, " r"]:
        return pooled_mpq_of_sums(sums.reshape(-1, len(NUCLEUS_CLASSES), 4))

    interval = bootstrap(quality, rows, rng=rng, groups=tiles.groups)
    return interval._replace(n=int(rows.any(axis=1).sum()))


def _detected(score: str, nucleus_class: int | None, tiles: TileScores, rng: np.random.Generator) -> Interval:
    counted = PAIR_COLUMNS if nucleus_class is None else _PAIRS_OF[nucleus_class]
    n = int(tiles.block(counted).any(axis=1).sum())
    statistic = partial(_detection, score, nucleus_class)
    return bootstrap(statistic, tiles.block(PAIR_COLUMNS), rng=rng, groups=tiles.groups)._replace(n=n)


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


def _of_maps(statistic: Statistic, sums: MapSums, seed: int, groups: Groups) -> Value:
    return value_of(bootstrap(statistic, sums.rows, rng=_rng(seed), groups=groups))


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


_PAIRS_OF: Final = MappingProxyType(
    {
        int(number): tuple(
            f"pairs_{t}_{p}" for t in range(UNPAIRED + 1) for p in range(UNPAIRED + 1) if int(number) in (t, p)
        )
        for number in NUCLEUS_CLASSES
    }
)
"""Pairs in which a class takes part."""

_DETECTED: Final = {"detection": None} | dict(zip(CLASS_KEYS, map(int, NUCLEUS_CLASSES), strict=True))

_SEGMENTATION: Final[Mapping[str, Measure]] = MappingProxyType(
    {
        **{
            name: partial(_tile_mean, name) for name in ("dice", "aji", "aji_plus", "dq", "sq", "pq", *CLASS_PQ_COLUMNS)
        },
        "bpq": partial(_organ_mean, "bpq"),
        "bpq_image": partial(_tile_mean, "bpq"),
        "mpq": partial(_organ_mean, "mpq"),
        "mpq_image": partial(_tile_mean, "mpq"),
        "mpq_strict": partial(_organ_mean, "mpq_strict"),
        "mpq_pooled": _pooled_mpq,
        **{
            f"detection_{score}" if number is None else f"{score}_{name}": partial(_detected, score, number)
            for name, number in _DETECTED.items()
            for score in ("precision", "recall", "f1")
        },
    }
)
"""Metrics of segmented nuclei by name."""
