"""Trained decoder -> store of its maps, so that what reads them needs neither features nor a GPU."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from cellvit.formats.checkpoints import read_header
from cellvit.formats.content import provenance_of
from cellvit.formats.family import FamilyData
from cellvit.formats.hdf5 import ROW_SHA256
from cellvit.formats.maps import MAPS, append_maps
from cellvit.formats.writing import writing
from cellvit.inference.lanes import shared_out
from cellvit.inference.maps import load_decoder, predict_maps


def store_maps(
    path: Path,
    checkpoint: Path,
    data: FamilyData,
    rows: Int[np.ndarray, " r"],
    *,
    device: torch.device,
    threads: int = 1,
    average_views: bool = False,
) -> None:
    """Write the maps of the tiles at `rows`; none if the checkpoint holds no decoder.

    Args:
        threads: Threads of the processor that compute.
        average_views: As of `cellvit.inference.maps.predict_maps`.
    """
    absent = read_header(checkpoint).status == "absent"
    rows = rows[:0] if absent else rows
    with writing(path, MAPS, len(rows), {}, provenance_of(path, [checkpoint], {})) as writer:
        if not len(rows):
            return
        decoder = load_decoder(checkpoint, device, lanes=shared_out(device, threads))
        batches = predict_maps(decoder, data.features, data.tiles, rows, average_views=average_views)
        end = 0
        for batch in batches:
            start, end = end, end + len(batch)
            append_maps(
                writer,
                np_prob=batch.np_prob.astype(np.float16),
                hv=batch.hv.astype(np.float16),
                nt_class=batch.most_probable_class,
                averaged=average_views,
                tile_sha256=data.tiles.read(ROW_SHA256, rows[start:end]),
            )
