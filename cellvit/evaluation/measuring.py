"""Streams of tiles -> measurements of a system on each tile; maps are dropped as soon as they are measured."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from jaxtyping import Float32, UInt8

from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.scoring import (
    COLUMNS,
    GridTask,
    ImageTask,
    MapsTask,
    TileRow,
    Truth,
    score_classical,
    score_maps,
)
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import TileBatch
from cellvit.hover.decode import Watershed
from cellvit.hover.encode import hv_maps
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch
from cellvit.taxonomy import NucleusClass


def judge_maps(batches: Iterable[MapBatch], watershed: Watershed, *, family: str, pool: Workers) -> TileScores:
    """Measurements of predicted maps after `watershed`; `family` is that of the decoder."""
    return _gathered(pool.map(partial(score_maps, watershed), _maps_tasks(batches)), family)


def judge_classical(blocks: Iterable[TileBatch], majority_class: int, *, family: str, pool: Workers) -> TileScores:
    """Measurements of the classical baseline, whose nuclei all are of `majority_class`."""
    return _gathered(pool.map(partial(score_classical, majority_class), _image_tasks(blocks)), family)


def judge_oracle(blocks: Iterable[TileBatch], watershed: Watershed, *, family: str, pool: Workers) -> TileScores:
    """Measurements of perfect maps after `watershed`: the ceiling of every decoder on these tiles."""
    return judge_maps(map(perfect_maps, blocks), watershed, family=family, pool=pool)


def perfect_maps(tiles: TileBatch) -> MapBatch:
    """What a perfect decoder would say about the tiles."""
    return MapBatch(
        tiles=tiles,
        np_prob=(tiles.instances > 0).astype(np.float32),
        hv=hv_maps(tiles.instances),
        nt_prob=_one_hot(tiles.classes),
    )


def grid_tasks(batches: Iterable[MapBatch]) -> Iterator[GridTask]:
    """Tiles of a stream as tasks of `cellvit.evaluation.scoring.score_grid`."""
    for batch in batches:
        for place, instances in enumerate(batch.tiles.instances):
            yield GridTask(instances, batch.np_prob[place], batch.hv[place])


def _maps_tasks(batches: Iterable[MapBatch]) -> Iterator[MapsTask]:
    for batch in batches:
        rows = map_sums(batch).rows
        for place, truth in enumerate(_truths(batch.tiles)):
            yield MapsTask(truth, batch.np_prob[place], batch.hv[place], batch.nt_prob[place], rows[place])


def _image_tasks(blocks: Iterable[TileBatch]) -> Iterator[ImageTask]:
    for tiles in blocks:
        for truth, image in zip(_truths(tiles), tiles.image, strict=True):
            yield ImageTask(truth, image)


def _truths(tiles: TileBatch) -> Iterator[Truth]:
    columns = zip(tiles.tile_id, tiles.organ, tiles.instances, tiles.classes, tiles.patient, strict=True)
    return (Truth(*columns_of_tile) for columns_of_tile in columns)


def _gathered(rows: Iterable[TileRow], family: str) -> TileScores:
    rows = list(rows)
    return TileScores(
        tile_id=tuple(row.tile_id for row in rows),
        organ=tuple(row.organ for row in rows),
        patient=tuple(row.patient for row in rows),
        family=(family,) * len(rows),
        columns=COLUMNS,
        values=np.array([row.values for row in rows], np.float64).reshape(len(rows), len(COLUMNS)),
    )


def _one_hot(classes: UInt8[np.ndarray, "b h w"]) -> Float32[np.ndarray, "b 6 h w"]:
    numbers = np.array([int(member) for member in NucleusClass], np.uint8)
    planes: Float32[np.ndarray, "b 6 h w"] = (classes[:, None] == numbers[:, None, None]).astype(np.float32)
    return planes
