"""Trained decoder: checkpoint -> module, features and images -> maps."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float16, Int

from cellvit.data.batches import DecoderBatch, RowNumbers, decoder_batches, read_ahead, sequential_rows
from cellvit.data.views import apply_view
from cellvit.errors import StaleFileError
from cellvit.formats.dataset import check_model_fits
from cellvit.formats.features import read_tokens
from cellvit.formats.hdf5 import Rows
from cellvit.formats.tiles import TileBatch
from cellvit.inference.blocks import block_positions, check_same_encoder
from cellvit.inference.lanes import in_lanes
from cellvit.inference.loading import Loaded, load_module
from cellvit.inference.pixel_maps import PixelMaps, mean_of, pixel_maps, turned_back
from cellvit.inference.predictions import MapBatch
from cellvit.inference.stored_views import stored_views
from cellvit.inference.tensors import TensorBatch, on_device, sent
from cellvit.models.device import autocast
from cellvit.models.hovernet import HoverMaps, HoVerNetDecoder

_TILES_ON_GPU: Final = 16
_TILES_ON_CPU: Final = 4
"""Tiles of a forward pass: each takes about 60 MB at the default widths, in float32. On a CPU, several passes run at a time."""


_OtherTokens = Mapping[int, Float16[np.ndarray, "b blocks g g dim"]]
"""Tokens of the tiles of a batch in other flips and rotations, by geometry."""


def load_decoder(path: Path, device: torch.device, *, lanes: int = 1) -> Loaded[HoVerNetDecoder]:
    """The decoder of a checkpoint; raises as `load_module`."""
    return load_module(path, "hovernet", HoVerNetDecoder, device, lanes=lanes)


def tiles_per_pass(device: torch.device) -> int:
    """Tiles of a forward pass of a decoder."""
    return _TILES_ON_CPU if device.type == "cpu" else _TILES_ON_GPU


class Predicted(NamedTuple):
    """Tiles, and maps of them on the device that computed them.

    Attributes:
        tensors: The tiles on that device.
    """

    tiles: TileBatch
    tensors: TensorBatch
    maps: PixelMaps


def predict_maps(
    decoder: Loaded[HoVerNetDecoder],
    features: Rows,
    tiles: Rows,
    rows: Int[np.ndarray, " r"],
    *,
    average_views: bool = False,
    batch_size: int | None = None,
) -> Iterator[MapBatch]:
    """Yield the maps of the tiles at `rows`, in order, as they are computed, with the memory of a few batches.

    Row i must be the same tile in `features` and `tiles`.

    Args:
        average_views: Show the decoder each tile in every stored flip and rotation, turn the maps back and average them.
            Views in other colours are not among them: they stand for other laboratories, not for the tile.
        batch_size: Tiles of a forward pass; None chooses by the device, never by the number of cores.

    Raises:
        StaleFileError: The tiles have other classes or another resolution than those that trained the decoder; the features
            come from another encoder, lack a block that the decoder reads, or hold the identity view alone where views are
            to be averaged.
        ContractError: `features` and `tiles` do not belong together.
    """
    batches = predict_on_device(decoder, features, tiles, rows, average_views=average_views, batch_size=batch_size)
    for batch in batches:
        yield as_map_batch(batch.tiles, batch.maps)


def predict_on_device(
    decoder: Loaded[HoVerNetDecoder],
    features: Rows,
    tiles: Rows,
    rows: Int[np.ndarray, " r"],
    *,
    average_views: bool = False,
    batch_size: int | None = None,
) -> Iterator[Predicted]:
    """As `predict_maps`, with the maps left where they are computed."""
    header = decoder.header
    check_model_fits(f"the decoder of {header.family}, split {header.split}", header.dataset, tiles.path, tiles.dataset)
    check_same_encoder(features, header.encoder)
    blocks = block_positions(features, header.encoder["blocks"])
    plan = sequential_rows(rows, batch_size or tiles_per_pass(decoder.device))
    others = _other_views(features) if average_views else {}

    def read(item: tuple[RowNumbers, int]) -> Float16[np.ndarray, "b blocks g g dim"]:
        return read_tokens(features, item[0], view=item[1], blocks=blocks)

    with (
        closing(decoder_batches(features, tiles, plan, blocks=blocks)) as batches,
        closing(read_ahead(read, ((rows, place) for rows in plan for place in others))) as tokens,
    ):
        seen = ((batch, dict(zip(others.values(), islice(tokens, len(others)), strict=True))) for batch in batches)
        with closing(in_lanes(partial(_predicted, decoder), seen, decoder.lanes)) as predicted:
            for _, found in predicted:
                yield found


def _predicted(decoder: Loaded[HoVerNetDecoder], seen: tuple[DecoderBatch, _OtherTokens]) -> Predicted:
    """Maps of a batch, averaged over its identity view and the tokens of other views, by geometry."""
    batch, others = seen
    tensors = on_device(batch, decoder.device)
    return Predicted(batch.tiles, tensors, mean_of(_of_each_view(decoder, tensors, others)))


def _other_views(features: Rows) -> dict[int, int]:
    """Geometry by place in the store, of all stored flips and rotations but the identity view.

    Raises:
        StaleFileError: There are none.
    """
    _, *others = stored_views(features).in_own_colours.items()
    if not others:
        raise StaleFileError(
            f"{features.path}: watershed.average_views needs tokens of other views than the identity, the features hold the "
            "identity only. Fix: set features.views: [dihedral8] and extract the features again, or set "
            "watershed.average_views: false"
        )
    return dict(others)


@torch.inference_mode()
def _of_each_view(
    decoder: Loaded[HoVerNetDecoder],
    tensors: TensorBatch,
    others: _OtherTokens,
) -> Iterator[PixelMaps]:
    """Maps of the tiles as they are, then those of the tiles in each other geometry and its tokens, turned back."""
    yield pixel_maps(forward(decoder.module, tensors))
    pixels = tensors.image.permute(0, 2, 3, 1)  # channels last, as the decoder is given them
    for geometry, tokens in others.items():
        image = apply_view(pixels, geometry, axes=(1, 2)).contiguous().permute(0, 3, 1, 2)
        seen = tensors._replace(tokens=sent(torch.from_numpy(tokens), decoder.device), image=image)
        yield turned_back(pixel_maps(forward(decoder.module, seen)), geometry)


@torch.inference_mode()
def forward(module: HoVerNetDecoder, tensors: TensorBatch) -> HoverMaps:
    """Raw maps of a batch, without gradients."""
    with autocast(tensors.tokens.device):
        maps: HoverMaps = module(tensors.tokens, tensors.image if module.reads_image else None)
    return maps


@torch.inference_mode()
def as_map_batch(tiles: TileBatch, maps: PixelMaps) -> MapBatch:
    """The maps as arrays on the CPU, with their tiles."""
    np_prob, hv, nt_prob = (np.ascontiguousarray(values.cpu().numpy()) for values in maps)
    return MapBatch(tiles=tiles, np_prob=np_prob, hv=hv, nt_prob=nt_prob)
