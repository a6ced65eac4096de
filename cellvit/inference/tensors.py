"""Batches on the device that computes, turned where asked."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float16, Int, Int32, UInt8
from torch import Tensor

from cellvit.contracts.batches import DecoderBatch
from cellvit.data.views import apply_views


class TensorBatch(NamedTuple):
    """A `DecoderBatch` as tensors.

    Attributes:
        image: RGB, 0..255, channels second in shape and last in memory.
    """

    tokens: Float16[Tensor, "b taps g g dim"]
    image: UInt8[Tensor, "b 3 256 256"]
    instances: Int32[Tensor, "b 256 256"]
    classes: UInt8[Tensor, "b 256 256"]


def on_device(batch: DecoderBatch, device: torch.device, views: Int[np.ndarray, " b"] | None = None) -> TensorBatch:
    """The batch on `device`, each tile in its view (`cellvit.data.views`) where views are given."""

    def moved(array: np.ndarray, axes: tuple[int, int]) -> Tensor:
        tensor = torch.from_numpy(array).to(device)
        return tensor if views is None else apply_views(tensor, views, axes=axes)

    return TensorBatch(
        tokens=moved(batch.tokens, (2, 3)),
        image=moved(batch.tiles.image, (1, 2)).permute(0, 3, 1, 2),
        instances=moved(batch.tiles.instances, (1, 2)),
        classes=moved(batch.tiles.classes, (1, 2)),
    )
