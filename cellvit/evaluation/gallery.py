"""Galleries: the choice of the test tiles that are shown, and their pictures."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import numpy as np

from cellvit.evaluation.contours import contours, outcomes_of
from cellvit.evaluation.images import (
    HV_COLOURS,
    NP_COLOURS,
    class_map_png,
    class_palette,
    colour_mapped_png,
    hatched,
    tile_jpeg,
)
from cellvit.formats.gallery import GalleryTile, Picture, Rank
from cellvit.formats.tile_table import TileScores
from cellvit.hover.decode import Watershed
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.inference.segment import segment_tile
from cellvit.metrics.pannuke import tile_scores

PER_RANK: Final = 2
"""Tiles per rank; a tile takes 0.1 MB of the page (measured)."""

_BY_AJI: Final[tuple[Rank, ...]] = ("best", "median", "worst")


def choose_tiles(decoder: TileScores, *, per_rank: int = PER_RANK) -> tuple[tuple[str, Rank], ...]:
    """Ids of the best, median and worst tiles by AJI, and of random ones, `per_rank` of each, none twice.

    Tiles without a true nucleus are left out of the ranks: their AJI is 0 or undefined, whatever they look like. The random
    tiles are a sample of all other scored tiles, those without nuclei included. Their order is that of the digests of their
    ids: the same in every run, and independent of every value.
    """
    tile_ids, aji, n_true = decoder.text("tile_id"), decoder.column("aji"), decoder.column("n_true")
    defined = np.flatnonzero((n_true > 0) & ~np.isnan(aji))
    by_aji = defined[np.lexsort((np.array(tile_ids)[defined], aji[defined]))].tolist()  # worst first
    count = min(per_rank, max(1, len(by_aji) // len(_BY_AJI)))
    middle = by_aji[(len(by_aji) - count + 1) // 2 :][:count][::-1]
    rank_of: dict[int, Rank] = dict.fromkeys(by_aji[::-1][:count], "best")
    for row in by_aji[:count]:
        rank_of.setdefault(row, "worst")
    for row in middle:
        rank_of.setdefault(row, "median")
    chosen = sorted(rank_of, key=lambda row: _BY_AJI.index(rank_of[row]))
    others = (row for row in np.flatnonzero(~np.isnan(n_true)).tolist() if row not in rank_of)
    sample = sorted(others, key=lambda row: sha256(tile_ids[row].encode()).digest())[:per_rank]
    return (*((tile_ids[row], rank_of[row]) for row in chosen), *((tile_ids[row], "random") for row in sample))


def gallery_tiles(
    chosen: Sequence[tuple[str, Rank]],
    scores: Mapping[str, TileScores],
    batches: Iterable[MapBatch],
    watershed: Watershed,
) -> tuple[GalleryTile, ...]:
    """Pictures of the chosen tiles.

    Args:
        scores: Scores by system; that of the evaluated decoder is decoder.
        batches: Maps of the chosen tiles, in their order.
    """
    of_tiles = ((batch, place) for batch in batches for place in range(len(batch)))
    return tuple(
        _gallery_tile(rank, scores, batch, place, watershed)
        for (_, rank), (batch, place) in zip(chosen, of_tiles, strict=True)
    )


def _gallery_tile(
    rank: Rank, scores: Mapping[str, TileScores], batch: MapBatch, place: int, watershed: Watershed
) -> GalleryTile:
    tile_id, classes = batch.tiles.tile_id[place], batch.tiles.classes[place]
    truth = Segmentation(batch.tiles.instances[place], classes)
    predicted = segment_tile(batch.np_prob[place], batch.hv[place], batch.nt_prob[place], watershed)
    prediction = predicted.within(truth.annotated)
    sides = truth.instances, truth.classes, prediction.instances, prediction.classes
    compared = tile_scores(*sides, n_classes=batch.tiles.dataset.n_classes)
    of_truth, of_prediction = outcomes_of(compared)
    row_of = {system: np.flatnonzero(tiles.table["tile_id"] == tile_id) for system, tiles in scores.items()}
    return GalleryTile(
        tile_id=tile_id,
        organ=batch.tiles.organ[place],
        origin=batch.tiles.origin[place],
        rank=rank,
        not_annotated=float(1 - truth.annotated.mean()),
        aji={system: float(scores[system].column("aji")[row[0]]) for system, row in row_of.items() if len(row)},
        image=Picture(
            uri=tile_jpeg(hatched(batch.tiles.image[place], truth.annotated)),
            caption="Tile",
            alt=f"H&E tile {tile_id}",
            side_px=len(classes),
        ),
        truth=contours(truth.instances, compared.true_class_of, of_truth),
        predicted=contours(prediction.instances, compared.predicted_class_of, of_prediction),
        maps=_maps(batch, place, watershed.np_threshold),
    )


def _maps(batch: MapBatch, place: int, np_threshold: float) -> tuple[Picture, ...]:
    """HV is shown inside nuclei only: it is trained there alone, and undefined outside."""
    np_prob, tile_id = batch.np_prob[place], batch.tiles.tile_id[place]
    hv = np.where(np_prob >= np_threshold, batch.hv[place], np.nan)
    hv_uris = (colour_mapped_png(plane, colour_map=HV_COLOURS, low=-1, high=1) for plane in hv)
    nt_class = batch.nt_prob[place].argmax(axis=0).astype(np.uint8)
    shown = (
        (colour_mapped_png(np_prob, colour_map=NP_COLOURS, low=0, high=1), "NP, probability of nucleus", "NP"),
        (next(hv_uris), "HV, horizontal", "Horizontal HV"),
        (next(hv_uris), "HV, vertical", "Vertical HV"),
        (class_map_png(nt_class, class_palette(batch.tiles.dataset)), "NT, most probable class", "NT"),
    )
    return tuple(
        Picture(uri=uri, caption=caption, alt=f"{name} map of tile {tile_id}", side_px=len(np_prob))
        for uri, caption, name in shown
    )
