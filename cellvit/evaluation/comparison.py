"""Two runs on the same test tiles -> the paired difference of every metric, and whether it is clear."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.comparability import check_same_tiles, differing_settings
from cellvit.evaluation.finished_run import FinishedRun, Scored, scores_of
from cellvit.evaluation.scoring import class_keys_of, pair_columns
from cellvit.evaluation.values import has_maps, paired
from cellvit.formats.comparison import ComparedRow, Outcome
from cellvit.formats.tile_table import TileScores
from cellvit.metrics.detection import detection_scores
from cellvit.metrics.intervals import (
    LEVEL,
    Interval,
    Statistic,
    holm,
    interval_of_organ_mean,
    interval_of_sums,
    p_value,
)
from cellvit.metrics.maps import METRICS as METRICS_OF_MAPS
from cellvit.metrics.maps import columns_of as map_columns
from cellvit.metrics.pannuke import mean_over_organs

TILE_METRICS: Final = ("aji", "bpq", "mpq", "dice")
"""Metrics that are means over tiles."""

MAP_METRICS: Final = ("np_dice", "hv_skill", "hv_length", "nt_accuracy")
"""Metrics of the maps before decoding. A longer HV vector is not in itself a better one; of all others more is better."""

_OVER_ORGANS: Final = ("bpq", "mpq")


class Comparison(NamedTuple):
    """What `compare` found.

    Attributes:
        settings: Settings that differ, as texts of A and B by dotted key.
        n_comparisons: Differences that were judged; those of equal scores are not counted.
        notes: What one of the runs alone has, in sentences.
    """

    rows: tuple[ComparedRow, ...]
    settings: dict[str, tuple[str, str]]
    n_comparisons: int
    notes: tuple[str, ...]


class Measured(NamedTuple):
    """One metric in two runs on the same tiles.

    Attributes:
        difference: B minus A, paired by tile.
        equal: True if both runs have the same scores on every tile.
    """

    a: float
    b: float
    difference: Interval
    equal: bool


def compare(a: FinishedRun, b: FinishedRun) -> Comparison:
    """Paired differences of every split, family, system and metric that both runs have.

    Raises:
        ContractError: The runs have no split in common, or their test tiles differ.
    """
    check_same_tiles(a, b)
    first, second = scores_of(a), scores_of(b)
    both = [key for key in first if key in second]
    found = [(key, name, one) for key in both for name, one in measured(*paired(first[key], second[key])).items()]
    outcomes = outcomes_of([one for *_, one in found])
    rows = tuple(_row(key, name, one, is_clear) for (key, name, one), is_clear in zip(found, outcomes, strict=True))
    n_comparisons = sum(outcome not in ("equal", "undefined") for outcome in outcomes)
    return Comparison(rows, differing_settings(a, b), n_comparisons, tuple(_notes(first, second)))


def measured(a: TileScores, b: TileScores) -> dict[str, Measured]:
    """Every compared metric of two sets of scores of the same tiles; those of maps only if both have maps.

    A tile on which a mean over tiles is undefined in one of both is left out. bPQ and mPQ are means over tiles and then
    organs; detection F1 and the metrics of maps add counts over all tiles and divide once.
    """
    found = {name: _mean(name, a, b, over_organs=name in _OVER_ORGANS) for name in TILE_METRICS}
    n_classes = len(class_keys_of(a))
    found["detection_f1"] = _pooled(pair_columns(n_classes), _detection_f1, a, b)
    if has_maps(a) and has_maps(b):
        found |= {name: _pooled(map_columns(n_classes), METRICS_OF_MAPS[name], a, b) for name in MAP_METRICS}
    return found


def outcomes_of(found: Sequence[Measured]) -> tuple[Outcome, ...]:
    """Whether each difference is clear: not 0 with 95 % confidence in all comparisons together (Holm's correction).

    A difference without an interval (fewer than three patients) is never clear.
    """
    judged = [math.nan if one.equal else _p_value(one.difference) for one in found]
    return tuple(_outcome(one, adjusted) for one, adjusted in zip(found, holm(judged), strict=True))


def _p_value(difference: Interval) -> float:
    return p_value(difference.value, difference.low, difference.high, difference.units)


def _outcome(one: Measured, adjusted_p: float) -> Outcome:
    if math.isnan(one.difference.value):
        return "undefined"
    if one.equal:
        return "equal"
    if not adjusted_p < 1 - LEVEL:
        return "not clear"
    return "higher in B" if one.difference.value > 0 else "lower in B"


def _row(key: Scored, metric: str, one: Measured, outcome: Outcome) -> ComparedRow:
    value, low, high, n, units = one.difference
    return ComparedRow(*key, metric, one.a, one.b, value, low, high, n, units, outcome)


def _notes(first: Mapping[Scored, TileScores], second: Mapping[Scored, TileScores]) -> Iterator[str]:
    """What one run alone has scored."""
    for key in dict.fromkeys((*first, *second)):
        where = f"split {key.split}, {key.family}, {key.system}"
        if key not in first or key not in second:
            yield f"{where}: only run {'A' if key in first else 'B'} has it"
            continue
        ids = set(first[key].text("tile_id")), set(second[key].text("tile_id"))
        if ids[0] != ids[1]:
            counts = f"run A has scored {len(ids[0])}, run B {len(ids[1])}"
            yield f"{where}: compared on the {len(ids[0] & ids[1])} tiles that both have; {counts}"


def _mean(name: str, a: TileScores, b: TileScores, *, over_organs: bool) -> Measured:
    first, second = a.column(name), b.column(name)
    organs = a.organs if over_organs else np.zeros(len(a), np.int64)
    difference = interval_of_organ_mean(second - first, organs, scale="real", groups=a.groups)
    defined = ~np.isnan(second - first)
    of_a, of_b = (mean_over_organs(column[defined], organs[defined]) for column in (first, second))
    return Measured(of_a, of_b, difference, np.array_equal(first, second, equal_nan=True))


def _pooled(columns: Sequence[str], statistic: Statistic, a: TileScores, b: TileScores) -> Measured:
    first, second = a.block(columns), b.block(columns)
    rows = np.concatenate([first, second], axis=1)

    def difference(sums: Float64[np.ndarray, "r 2*k"]) -> Float64[np.ndarray, " r"]:
        of_a, of_b = np.split(sums, 2, axis=1)
        return statistic(of_b) - statistic(of_a)

    counted = int((rows != 0).any(axis=1).sum())
    interval = interval_of_sums(difference, rows, scale="real", groups=a.groups)._replace(n=counted)
    of_a, of_b = (float(statistic(part.sum(axis=0, keepdims=True))[0]) for part in (first, second))
    return Measured(of_a, of_b, interval, np.array_equal(first, second))


def _detection_f1(sums: Float64[np.ndarray, "r k"]) -> Float64[np.ndarray, " r"]:
    side = math.isqrt(sums.shape[-1])
    return detection_scores(sums.reshape(-1, side, side)).f1
