"""Tiles on the device that computes, each in the view that was sampled for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float16, Float32, Int32, Int64, Shaped, UInt8
from torch import Tensor

from cellvit.data.batches import DecoderBatch, SampledViews
from cellvit.data.blur import blurred, gaussian_kernels
from cellvit.data.stain import mixed, stain_mixes
from cellvit.data.views import apply_views, composed
from cellvit.hover.encode import hv_maps
from cellvit.inference.stored_views import IDENTITY_ONLY, StoredViews
from cellvit.taxonomy import TILE_PX


class TensorBatch(NamedTuple):
    """What the decoder and the loss read.

    Attributes:
        image: RGB, 0..255, channels second in shape and last in memory.
    """

    tokens: Float16[Tensor, "b blocks g g dim"]
    image: UInt8[Tensor, "b 3 256 256"]
    instances: Int32[Tensor, "b 256 256"]
    classes: UInt8[Tensor, "b 256 256"]

    def hv_maps(self) -> Float32[Tensor, "b 2 256 256"]:
        """HV maps of the ground truth, without waiting for the device: labels without gaps do not exceed the pixels."""
        return hv_maps(self.instances, largest_id=TILE_PX**2)


class Changes(NamedTuple):
    """What is done to the tiles of a batch to show each in its view; None for what is done to no tile.

    Attributes:
        coloured: Places of the tiles that are shown in other colours.
        mixes: The change of the colours of each of these (`cellvit.data.stain.mixed`).
        geometries: Flip or rotation of the image and of the ground truth of each tile, after its colours.
        token_geometries: Flip or rotation of the tokens, which may be those of a flipped or rotated tile already.
        stain_mixes: A further change of the colours of each image.
        blur: Weights of the Gaussian that each image is convolved with at the end (`cellvit.data.blur.blurred`).
    """

    coloured: Int64[Tensor, " k"] | None = None
    mixes: Float32[Tensor, "k 4 3"] | None = None
    geometries: Int64[Tensor, " b"] | None = None
    token_geometries: Int64[Tensor, " b"] | None = None
    stain_mixes: Float32[Tensor, "b 4 3"] | None = None
    blur: Float32[Tensor, "b k"] | None = None

    def moved(self, move: Callable[[Tensor], Tensor]) -> "Changes":
        """The changes after `move` of each tensor, as to a device."""
        return Changes(*(None if part is None else move(part) for part in self))


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """Tiles as they are stored, and what is done to them: all that a step needs from the host.

    Attributes:
        tokens: Of one view of each tile.
        image, instances, classes: In the identity view.
    """

    tokens: Float16[Tensor, "b blocks g g dim"]
    image: UInt8[Tensor, "b 256 256 3"]
    instances: Int32[Tensor, "b 256 256"]
    classes: UInt8[Tensor, "b 256 256"]
    changes: Changes

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, batch: DecoderBatch, stored: StoredViews = IDENTITY_ONLY) -> Self:
        """A batch of arrays as tensors of the CPU, in the same memory.

        Args:
            stored: Views of the store that the tokens were read from.
        """
        tiles = batch.tiles
        return cls(
            torch.from_numpy(batch.tokens),
            torch.from_numpy(tiles.image),
            torch.from_numpy(tiles.instances),
            torch.from_numpy(tiles.classes),
            changes_of(batch.sampled, tiles.tile_id, stored),
        )

    def moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        """The batch after `move` of each tensor, as to a device."""
        tiles = (move(self.tokens), move(self.image), move(self.instances), move(self.classes))
        return type(self)(*tiles, self.changes.moved(move))


def changes_of(sampled: SampledViews | None, tile_ids: Sequence[str], stored: StoredViews) -> Changes:
    """How the tiles are changed to be shown in the views that were sampled; not at all for None."""
    if sampled is None:
        return Changes()
    views = [stored.views[place] for place in sampled.stored]
    coloured = [place for place, view in enumerate(views) if view.colour]
    mixes = None
    if coloured:
        ids, colours = [tile_ids[place] for place in coloured], [views[place].colour for place in coloured]
        mixes = torch.from_numpy(stain_mixes(ids, colours, seed=stored.colour_seed, sigma=stored.colour_sigma))
    return Changes(
        torch.tensor(coloured) if coloured else None,
        mixes,
        _unless_identity(composed(np.array([view.geometry for view in views]), sampled.transforms)),
        _unless_identity(sampled.transforms),
        None if sampled.stain_mixes is None else torch.from_numpy(sampled.stain_mixes),
        None if sampled.blur_px is None else torch.from_numpy(gaussian_kernels(sampled.blur_px)),
    )


def shown(batch: StoredBatch) -> TensorBatch:
    """The tiles in their views; the host neither waits for the device nor sends anything to it."""
    image, changes = batch.image, batch.changes
    if changes.coloured is not None and changes.mixes is not None:
        chosen = image.index_select(0, changes.coloured)
        image = image.index_copy(0, changes.coloured, mixed(chosen, changes.mixes))
    image, instances, classes = (
        _moved(pixels, changes.geometries, (1, 2)) for pixels in (image, batch.instances, batch.classes)
    )
    if changes.stain_mixes is not None:
        image = mixed(image, changes.stain_mixes)
    if changes.blur is not None:
        image = blurred(image, changes.blur)
    tokens = _moved(batch.tokens, changes.token_geometries, (2, 3))
    return TensorBatch(tokens, image.permute(0, 3, 1, 2), instances, classes)


def on_device(batch: DecoderBatch, device: torch.device, stored: StoredViews = IDENTITY_ONLY) -> TensorBatch:
    """The batch on `device`, each tile in the view that was sampled for it.

    Sampled changes of the image come last: its colours, and then its blur.

    Args:
        stored: Views of the store that the tokens were read from.
    """
    return shown(StoredBatch.of(batch, stored).moved(partial(sent, device=device)))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`, without waiting for it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # from other memory, the host waits for the device


def _moved(tiles: Tensor, geometries: Int64[Tensor, " b"] | None, axes: tuple[int, int]) -> Tensor:
    return tiles if geometries is None else apply_views(tiles, geometries, axes=axes)


def _unless_identity(geometries: Shaped[np.ndarray, " b"]) -> Int64[Tensor, " b"] | None:
    return torch.from_numpy(geometries.astype(np.int64)) if geometries.any() else None
