"""Streams of tiles -> scores of a system on each tile; maps are dropped as soon as they are scored."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.scoring import COLUMNS, ImageTask, MapsTask, score_classical, score_maps
from cellvit.formats.tile_table import TEXTS, TileScores
from cellvit.formats.tiles import TileBatch
from cellvit.hover.decode import Watershed
from cellvit.hover.encode import hv_maps
from cellvit.hover.parameters import Classical
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.taxonomy import NucleusClass

Task = TypeVar("Task")


def scores_of_maps(batches: Iterable[MapBatch], watershed: Watershed, *, family: str, pool: Workers) -> TileScores:
    """Scores of predicted maps after `watershed`; `family` is that of the decoder."""

    def tasks(batch: MapBatch) -> Iterator[MapsTask]:
        return map(MapsTask, _truths(batch.tiles), batch.np_prob, batch.hv, batch.nt_prob, map_sums(batch).rows)

    stream = ((batch.tiles, tasks(batch)) for batch in batches)
    return _scores(partial(score_maps, watershed), stream, family, pool)


def scores_of_classical(
    blocks: Iterable[TileBatch], chosen: Classical, majority_class: int, *, family: str, pool: Workers
) -> TileScores:
    """Scores of the classical baseline with the parameters `chosen`; its nuclei all are of `majority_class`."""
    stream = ((tiles, map(ImageTask, _truths(tiles), tiles.image)) for tiles in blocks)
    return _scores(partial(score_classical, chosen, majority_class), stream, family, pool)


def perfect_maps(tiles: TileBatch) -> MapBatch:
    """The maps that a perfect decoder would predict."""
    numbers = np.array([int(member) for member in NucleusClass], np.uint8)
    return MapBatch(
        tiles=tiles,
        np_prob=(tiles.instances > 0).astype(np.float32),
        hv=hv_maps(tiles.instances),
        nt_prob=(tiles.classes[:, None] == numbers[:, None, None]).astype(np.float32),
    )


def _scores(
    score: Callable[[Task], Float64[np.ndarray, " k"]],
    stream: Iterable[tuple[TileBatch, Iterable[Task]]],
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

    values = list(pool.map(score, tasks()))
    families = {"family": [family] * len(values)}
    return TileScores.of(texts | families, COLUMNS, np.array(values).reshape(len(values), len(COLUMNS)))


def _truths(tiles: TileBatch) -> Iterator[Segmentation]:
    return map(Segmentation, tiles.instances, tiles.classes)
