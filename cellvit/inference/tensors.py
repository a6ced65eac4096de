"""Batches on the device that computes, each tile in the view that was sampled for it."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float16, Int32, UInt8
from torch import Tensor

from cellvit.data.batches import DecoderBatch
from cellvit.data.blur import blurred
from cellvit.data.stain import mixed
from cellvit.data.views import apply_views
from cellvit.inference.stored_views import IDENTITY_ONLY, StoredViews


class TensorBatch(NamedTuple):
    """A `DecoderBatch` as tensors.

    Attributes:
        image: RGB, 0..255, channels second in shape and last in memory.
    """

    tokens: Float16[Tensor, "b blocks g g dim"]
    image: UInt8[Tensor, "b 3 256 256"]
    instances: Int32[Tensor, "b 256 256"]
    classes: UInt8[Tensor, "b 256 256"]


def on_device(batch: DecoderBatch, device: torch.device, stored: StoredViews = IDENTITY_ONLY) -> TensorBatch:
    """The batch on `device`: image and ground truth in the view of the tokens, then the sampled transform of all.

    Sampled changes of the image come last: its colours, and then its blur.

    Args:
        stored: Views of the store that the tokens were read from.
    """

    def sent(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    tokens, image = sent(batch.tokens), sent(batch.tiles.image)
    instances, classes = sent(batch.tiles.instances), sent(batch.tiles.classes)
    if batch.sampled is not None:
        views, transforms = [stored.views[place] for place in batch.sampled.stored], batch.sampled.transforms
        image = stored.in_colours(image, batch.tiles.tile_id, views)
        geometries = np.array([view.geometry for view in views])
        image, instances, classes = (
            apply_views(apply_views(pixels, geometries, axes=(1, 2)), transforms, axes=(1, 2))
            for pixels in (image, instances, classes)
        )
        tokens = apply_views(tokens, transforms, axes=(2, 3))
        if batch.sampled.stain_mixes is not None:
            image = mixed(image, sent(batch.sampled.stain_mixes))
        if batch.sampled.blur_px is not None:
            image = blurred(image, batch.sampled.blur_px)
    return TensorBatch(tokens, image.permute(0, 3, 1, 2), instances, classes)
