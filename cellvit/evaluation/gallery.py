"""Galleries: the choice of the test tiles that are shown, and their pictures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, get_args

import numpy as np

from cellvit.evaluation.images import (
    HV_COLOURS,
    NP_COLOURS,
    SCALE,
    class_map_png,
    class_palette,
    colour_mapped_png,
    hatched,
    overlay_png,
)
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.gallery import GalleryTile, Picture, Rank
from cellvit.formats.tile_table import TileScores
from cellvit.hover.decode import Watershed
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.inference.segment import segment_tile

PER_RANK: Final = 2
"""Tiles per rank; a tile takes 0.26 MB of the page (measured)."""


def choose_tiles(decoder: TileScores, *, per_rank: int = PER_RANK) -> tuple[tuple[str, Rank], ...]:
    """Ids of the best, median and worst tiles by AJI, `per_rank` of each, none twice.

    Tiles without a true nucleus are left out: their AJI is 0 or undefined, whatever they look like.
    """
    tile_ids, aji = decoder.text("tile_id"), decoder.column("aji")
    defined = np.flatnonzero((decoder.column("n_true") > 0) & ~np.isnan(aji))
    by_aji = defined[np.lexsort((np.array(tile_ids)[defined], aji[defined]))].tolist()  # worst first
    count = min(per_rank, max(1, len(by_aji) // len(get_args(Rank))))
    middle = by_aji[(len(by_aji) - count + 1) // 2 :][:count][::-1]
    rank_of: dict[int, Rank] = dict.fromkeys(by_aji[::-1][:count], "best")
    for row in by_aji[:count]:
        rank_of.setdefault(row, "worst")
    for row in middle:
        rank_of.setdefault(row, "median")
    chosen = sorted(rank_of, key=lambda row: get_args(Rank).index(rank_of[row]))
    return tuple((tile_ids[row], rank_of[row]) for row in chosen)


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
    tile_id = batch.tiles.tile_id[place]
    truth = Segmentation(batch.tiles.instances[place], batch.tiles.classes[place])
    predicted = segment_tile(batch.np_prob[place], batch.hv[place], batch.nt_prob[place], watershed)
    prediction = predicted.within(truth.annotated)
    n_true, n_predicted = (int(side.instances.max(initial=0)) for side in (truth, prediction))
    row_of = {system: np.flatnonzero(tiles.table["tile_id"] == tile_id) for system, tiles in scores.items()}
    return GalleryTile(
        tile_id=tile_id,
        organ=batch.tiles.organ[place],
        origin=batch.tiles.origin[place],
        rank=rank,
        not_annotated=float(1 - truth.annotated.mean()),
        n_true=n_true,
        n_predicted=n_predicted,
        aji={system: float(scores[system].column("aji")[row[0]]) for system, row in row_of.items() if len(row)},
        overlays=(
            _overlay(batch, place, truth, f"Ground truth: {_nuclei(n_true)}"),
            _overlay(batch, place, prediction, f"Prediction: {_nuclei(n_predicted)}"),
        ),
        maps=_maps(batch, place, watershed.np_threshold),
    )


def _overlay(batch: MapBatch, place: int, nuclei: Segmentation, caption: str) -> Picture:
    image = hatched(batch.tiles.image[place], batch.tiles.classes[place] != NOT_ANNOTATED)
    return Picture(
        uri=overlay_png(image, nuclei.instances, nuclei.classes, class_palette(batch.tiles.dataset)),
        caption=caption,
        alt=f"H&E tile {batch.tiles.tile_id[place]} with contours by class. {caption}",
        side_px=SCALE * len(nuclei.instances),
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


def _nuclei(count: int) -> str:
    return f"{count} nucleus" if count == 1 else f"{count} nuclei"
