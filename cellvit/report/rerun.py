"""Decoders run again on the few tiles of a gallery: their maps are stored nowhere."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from cellvit.errors import StaleFileError
from cellvit.formats.hdf5 import Store
from cellvit.formats.watershed import WatershedChoice
from cellvit.hover.decode import Watershed
from cellvit.inference.maps import load_decoder, predict_maps
from cellvit.inference.predictions import MapBatch, Segmentation
from cellvit.inference.segment import segment_tile, watershed_of
from cellvit.report.findings import Decoder
from cellvit.report.gallery import Gallery, Rerun, choose_tiles, exhibit

Stores = tuple[Store, Store]
"""Features and targets of a family."""


def build_gallery(
    decoder: Decoder, checkpoint: Path, stores: Stores, *, per_rank: int, device: torch.device
) -> Gallery:
    """Best, median and worst test tiles of an evaluated decoder, decoded again."""
    assert decoder.watershed is not None, decoder.key
    split, family = decoder.key
    chosen = choose_tiles(decoder.tiles, per_rank=per_rank)
    reruns = rerun_tiles(checkpoint, decoder.watershed, stores, [tile.tile_id for tile in chosen], device=device)
    exhibits = tuple(exhibit(tile, rerun) for tile, rerun in zip(chosen, reruns, strict=True))
    note = "" if exhibits else "No test tile of this family has a nucleus."
    return Gallery(split, family, exhibits, note)


def rerun_tiles(
    checkpoint: Path,
    choice: WatershedChoice,
    stores: Stores,
    tile_ids: Sequence[str],
    *,
    device: torch.device,
) -> Iterator[Rerun]:
    """Yield maps and nuclei of the tiles, in the order of `tile_ids`.

    Args:
        stores: The family's features and targets.

    Raises:
        StaleFileError: The targets do not hold a tile.
    """
    features, targets = stores
    rows = rows_of(targets, tile_ids)
    if not len(rows):
        return
    watershed = watershed_of(choice)
    for batch in predict_maps(load_decoder(checkpoint, device=device), features, targets, rows):
        for place in range(len(batch)):
            yield _rerun(batch, place, watershed)


def rows_of(targets: Store, tile_ids: Sequence[str]) -> np.ndarray:
    """Row numbers of tiles, in the order asked for.

    Raises:
        StaleFileError: A tile is not there.
    """
    row_of = {tile_id: row for row, tile_id in enumerate(targets.names("tile_id"))}
    unknown = [tile_id for tile_id in tile_ids if tile_id not in row_of]
    if unknown:
        raise StaleFileError(
            f"{targets.path}: has no tile {', '.join(unknown)}, which the evaluation judged. "
            "Evaluate again:  snakemake --forcerun evaluate_family"
        )
    return np.array([row_of[tile_id] for tile_id in tile_ids], np.int64)


def _rerun(batch: MapBatch, place: int, watershed: Watershed) -> Rerun:
    tiles, nt_prob = batch.tiles, batch.nt_prob[place]
    return Rerun(
        tile_id=tiles.tile_id[place],
        image=tiles.image[place],
        truth=Segmentation(tiles.instances[place], tiles.classes[place]),
        found=segment_tile(batch.np_prob[place], batch.hv[place], nt_prob, watershed),
        np_prob=batch.np_prob[place],
        hv=batch.hv[place],
        nt_class=nt_prob.argmax(axis=0).astype(np.uint8),
        np_threshold=watershed.np_threshold,
    )
