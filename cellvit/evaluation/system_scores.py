"""Streams of tiles -> scores of a system on each tile; maps are dropped as soon as they are scored."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from jaxtyping import Float64

from cellvit.evaluation.map_sums import map_sums
from cellvit.evaluation.scoring import COLUMNS, GridTask, ImageTask, MapsTask, score_classical, score_maps
from cellvit.formats.tile_table import TileScores
from cellvit.formats.tiles import TileBatch
from cellvit.hover.decode import Watershed
from cellvit.hover.encode import hv_maps
from cellvit.inference.parallel import Workers
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.taxonomy import NucleusClass


def scores_of_maps(batches: Iterable[MapBatch], watershed: Watershed, *, family: str, pool: Workers) -> TileScores:
    """Scores of predicted maps after `watershed`; `family` is that of the decoder."""
    texts = _Texts(family)
    return texts.with_values(pool.map(partial(score_maps, watershed), _maps_tasks(batches, texts)))


def scores_of_classical(blocks: Iterable[TileBatch], majority_class: int, *, family: str, pool: Workers) -> TileScores:
    """Scores of the classical baseline, whose nuclei all are of `majority_class`."""
    texts = _Texts(family)
    return texts.with_values(pool.map(partial(score_classical, majority_class), _image_tasks(blocks, texts)))


def scores_of_upper_bound(
    blocks: Iterable[TileBatch], watershed: Watershed, *, family: str, pool: Workers
) -> TileScores:
    """Scores of perfect maps after `watershed`: the best that any decoder can reach on these tiles."""
    return scores_of_maps(map(perfect_maps, blocks), watershed, family=family, pool=pool)


def perfect_maps(tiles: TileBatch) -> MapBatch:
    """The maps that a perfect decoder would predict."""
    numbers = np.array([int(member) for member in NucleusClass], np.uint8)
    return MapBatch(
        tiles=tiles,
        np_prob=(tiles.instances > 0).astype(np.float32),
        hv=hv_maps(tiles.instances),
        nt_prob=(tiles.classes[:, None] == numbers[:, None, None]).astype(np.float32),
    )


def grid_tasks(batches: Iterable[MapBatch]) -> Iterator[GridTask]:
    """Tiles of a stream as tasks of `cellvit.evaluation.scoring.score_grid`."""
    for batch in batches:
        yield from (GridTask(*of_tile) for of_tile in zip(batch.tiles.instances, batch.np_prob, batch.hv, strict=True))


class _Texts:
    """Ids, organs and patients of the tiles that were sent to the workers, in order."""

    def __init__(self, family: str) -> None:
        self._family, self._texts = family, {name: list[str]() for name in ("tile_id", "organ", "patient")}

    def add(self, tiles: TileBatch) -> None:
        for name, texts in self._texts.items():
            texts.extend(getattr(tiles, name))

    def with_values(self, rows: Iterable[Float64[np.ndarray, " k"]]) -> TileScores:
        values = list(rows)
        family = {"family": [self._family] * len(values)}
        return TileScores.of(self._texts | family, COLUMNS, np.array(values).reshape(len(values), len(COLUMNS)))


def _maps_tasks(batches: Iterable[MapBatch], texts: _Texts) -> Iterator[MapsTask]:
    for batch in batches:
        texts.add(batch.tiles)
        maps = zip(_truths(batch.tiles), batch.np_prob, batch.hv, batch.nt_prob, map_sums(batch).rows, strict=True)
        yield from (MapsTask(*of_tile) for of_tile in maps)


def _image_tasks(blocks: Iterable[TileBatch], texts: _Texts) -> Iterator[ImageTask]:
    for tiles in blocks:
        texts.add(tiles)
        yield from (ImageTask(*of_tile) for of_tile in zip(_truths(tiles), tiles.image, strict=True))


def _truths(tiles: TileBatch) -> Iterator[Segmentation]:
    return (Segmentation(*of_tile) for of_tile in zip(tiles.instances, tiles.classes, strict=True))
