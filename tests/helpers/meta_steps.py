"""A batch and a decoder on torch's meta device, whose tensors have shapes and no values."""

import numpy as np
import torch
from one_device import META

from cellvit.config.models import DecoderSettings
from cellvit.data.batches import SampledViews
from cellvit.data.stain import random_mix
from cellvit.data.views import View
from cellvit.inference.stored_views import StoredViews
from cellvit.inference.tensors import Changes, StoredBatch, changes_of
from cellvit.losses.hover import HoVerNetLoss
from cellvit.models.hovernet import HoVerNetDecoder
from cellvit.training.averaging import WeightAverage
from cellvit.training.loop import adamw
from cellvit.training.trainable import Trainable

B, BLOCKS, GRID, DIM = 3, 2, 16, 6
STORED = StoredViews((View(0, 0), View(5, 0), View(0, 1)), colour_seed=3, colour_sigma=0.1)


def changes() -> Changes:
    """Every change that there is, of different tiles."""
    rng = np.random.default_rng(0)
    sampled = SampledViews(
        stored=np.array([1, 2, 0]),
        transforms=np.array([0, 3, 6]),
        stain_mixes=np.stack([random_mix(rng, sigma=0.2) for _ in range(B)]).astype(np.float32),
        blur_px=np.array([0.0, 1.0, 2.0], np.float32),
    )
    return changes_of(sampled, [f"f1-{row:05d}" for row in range(B)], STORED)


def batch() -> StoredBatch:
    """A batch that has just arrived on the device."""
    return StoredBatch(
        tokens=torch.empty(B, BLOCKS, GRID, GRID, DIM, dtype=torch.float16, device=META),
        image=torch.empty(B, 256, 256, 3, dtype=torch.uint8, device=META),
        instances=torch.empty(B, 256, 256, dtype=torch.int32, device=META),
        classes=torch.empty(B, 256, 256, dtype=torch.uint8, device=META),
        changes=changes().moved(lambda tensor: tensor.to(META)),
    )


def trainable(weighting: str) -> Trainable:
    settings = DecoderSettings(widths=(8, 8, 8, 8, 8), stem_widths=(4, 6))
    decoder = HoVerNetDecoder(
        DIM, blocks=BLOCKS, grid=GRID, widths=settings.widths, image_stem="rgb", stem_widths=settings.stem_widths
    )
    loss = HoVerNetLoss(class_weights=torch.ones(6), weighting=weighting)
    modules = decoder.to(META).train(), loss.to(META)
    optimizer = adamw(modules, learning_rate=1e-3, weight_decay=1e-2)
    return Trainable(modules[0], {"loss": modules[1]}, optimizer, META, seed=0, average=WeightAverage(modules[0], 0.9))
