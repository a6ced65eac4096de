"""Streams of tiles -> scores of a system on each tile; maps are dropped as soon as they are scored."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.scoring import ImageTask, MapsTask, columns_of, score_classical, score_maps
from cellvit.formats.dataset import DataSet
from cellvit.formats.tile_table import TEXTS, TileScores
from cellvit.formats.tiles import TileBatch
from cellvit.hover.decode import Watershed
from cellvit.hover.encode import hv_maps
from cellvit.hover.parameters import Classical
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch, Segmentation

Task = TypeVar("Task")


def scores_of_maps(
    batches: Iterable[MapBatch], watershed: Watershed, data_set: DataSet, *, family: str, pool: Workers
) -> TileScores:
    """Scores of predicted maps after `watershed`; `family` is that of the decoder, `data_set` that of the tiles."""

    def tasks(batch: MapBatch) -> Iterator[MapsTask]:
        return map(MapsTask, _truths(batch.tiles), batch.np_prob, batch.hv, batch.nt_prob, map_sums(batch).rows)

    stream = ((batch.tiles, tasks(batch)) for batch in batches)
    return _scores(partial(score_maps, watershed, data_set), stream, data_set, family, pool)


def scores_of_classical(  # six arguments: the baseline, its tiles, and what names and computes the scores
    blocks: Iterable[TileBatch],
    chosen: Classical,
    majority_class: int,
    data_set: DataSet,
    *,
    family: str,
    pool: Workers,
) -> TileScores:
    """Scores of the classical baseline with the parameters `chosen`; its nuclei all are of `majority_class`."""
    stream = ((tiles, map(ImageTask, _truths(tiles), tiles.image)) for tiles in blocks)
    return _scores(partial(score_classical, chosen, majority_class, data_set), stream, data_set, family, pool)


def perfect_maps(tiles: TileBatch) -> MapBatch:
    """The maps that a perfect decoder would predict."""
    numbers = np.arange(tiles.dataset.n_classes + 1, dtype=np.uint8)
    return MapBatch(
        tiles=tiles,
        np_prob=(tiles.instances > 0).astype(np.float32),
        hv=hv_maps(tiles.instances),
        nt_prob=(tiles.classes[:, None] == numbers[:, None, None]).astype(np.float32),
    )


def _scores(
    score: Callable[[Task], Float64[np.ndarray, " k"]],
    stream: Iterable[tuple[TileBatch, Iterable[Task]]],
    data_set: DataSet,
    family: str,
    pool: Workers,
) -> TileScores:
    """Scores of each task of a stream, with the names of its tile."""
    texts = {name: list[str]() for name in TEXTS if name != "family"}

    def tasks() -> Iterator[Task]:
        for tiles, of_tiles in stream:
            for name, found in texts.items():
                found.extend(getattr(tiles, name))
            yield from of_tiles

    values, columns = list(pool.map(score, tasks())), columns_of(data_set)
    families = {"family": [family] * len(values)}
    return TileScores.of(texts | families, columns, np.array(values).reshape(len(values), len(columns)))


def _truths(tiles: TileBatch) -> Iterator[Segmentation]:
    return map(Segmentation, tiles.instances, tiles.classes)
