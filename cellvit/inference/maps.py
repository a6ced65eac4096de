"""Trained decoder: checkpoint -> module, features and images -> maps."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from cellvit.data.batches import decoder_batches, sequential_rows
from cellvit.formats.hdf5 import Rows
from cellvit.formats.tiles import TileBatch
from cellvit.inference.blocks import block_positions, check_same_encoder
from cellvit.inference.loading import Loaded, load_module
from cellvit.inference.predictions import MapBatch
from cellvit.inference.tensors import TensorBatch, on_device
from cellvit.models.device import autocast
from cellvit.models.hovernet import HoverMaps, HoVerNetDecoder

PREDICTED_TILES: Final = 16
"""Tiles per forward pass: about 1 GB of activations at the default widths, in float32."""


def load_decoder(path: Path, device: torch.device) -> Loaded[HoVerNetDecoder]:
    """The decoder of a checkpoint; raises as `load_module`."""
    return load_module(path, "hovernet", HoVerNetDecoder, device)


class Predicted(NamedTuple):
    """Tiles, and raw maps of them on the device that computed them.

    Attributes:
        tensors: The tiles on that device.
    """

    tiles: TileBatch
    tensors: TensorBatch
    maps: HoverMaps


def predict_maps(
    decoder: Loaded[HoVerNetDecoder],
    features: Rows,
    tiles: Rows,
    rows: Int[np.ndarray, " r"],
    *,
    batch_size: int = PREDICTED_TILES,
) -> Iterator[MapBatch]:
    """Yield the maps of the tiles at `rows`, in order, as they are computed, with the memory of a few batches.

    Row i must be the same tile in `features` and `tiles`.

    Raises:
        StaleFileError: The features come from another encoder, or lack a block that the decoder reads.
        ContractError: `features` and `tiles` do not belong together.
    """
    for predicted in predict_on_device(decoder, features, tiles, rows, batch_size=batch_size):
        yield as_map_batch(predicted.tiles, predicted.maps)


def predict_on_device(
    decoder: Loaded[HoVerNetDecoder],
    features: Rows,
    tiles: Rows,
    rows: Int[np.ndarray, " r"],
    *,
    batch_size: int = PREDICTED_TILES,
) -> Iterator[Predicted]:
    """As `predict_maps`, with the maps left where they are computed."""
    check_same_encoder(features, decoder.header.encoder)
    positions = block_positions(features, decoder.header.encoder["blocks"])
    plan = sequential_rows(rows, batch_size)
    with closing(decoder_batches(features, tiles, plan, blocks=positions)) as batches:
        for batch in batches:
            tensors = on_device(batch, decoder.device)
            yield Predicted(batch.tiles, tensors, forward(decoder.module, tensors))


@torch.inference_mode()
def forward(module: HoVerNetDecoder, tensors: TensorBatch) -> HoverMaps:
    """Raw maps of a batch, without gradients."""
    with autocast(tensors.tokens.device):
        maps: HoverMaps = module(tensors.tokens, tensors.image if module.reads_image else None)
    return maps


@torch.inference_mode()
def as_map_batch(tiles: TileBatch, maps: HoverMaps) -> MapBatch:
    """Probabilities and vectors as float32 arrays on the CPU, with their tiles."""
    return MapBatch(
        tiles=tiles,
        np_prob=maps.np.float().softmax(dim=1)[:, 1].cpu().numpy(),
        hv=np.ascontiguousarray(maps.hv.float().cpu().numpy()),
        nt_prob=np.ascontiguousarray(maps.nt.float().softmax(dim=1).cpu().numpy()),
    )
