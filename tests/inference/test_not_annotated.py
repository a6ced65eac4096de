"""What is not annotated moves with the tile in every view, and stays as it is under changes of colour and sharpness."""

import numpy as np
import pytest
import torch
from annotations import RIGHT, without_annotation

from cellvit.config.views import GEOMETRIES
from cellvit.data.batches import DecoderBatch, SampledViews
from cellvit.data.views import View, apply_view
from cellvit.formats.dataset import NOT_ANNOTATED
from cellvit.formats.tiles import TileBatch
from cellvit.inference.stored_views import StoredViews
from cellvit.inference.tensors import on_device

CPU = torch.device("cpu")


def batch(**sampled) -> DecoderBatch:
    instances = np.zeros((1, 256, 256), np.int32)
    instances[0, 20:60, 30:50], instances[0, 90:140, 100:160] = 1, 2
    image = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    whole = TileBatch(image, instances, (3 * (instances > 0)).astype(np.uint8), ("Colon",), ("f1-00000",))
    views = SampledViews(**{"stored": np.array([0]), "transforms": np.array([0])} | sampled)
    return DecoderBatch(np.zeros((1, 1, 16, 16, 2), np.float16), without_annotation({0: RIGHT})(whole), views)


@pytest.mark.parametrize("view", range(len(GEOMETRIES)), ids=GEOMETRIES)
@pytest.mark.parametrize("by", ["stored", "transforms"])
def test_a_region_that_is_not_annotated_moves_with_the_tile(view: int, by: str) -> None:
    stored = StoredViews((View(0, 0), View(view, 0)), colour_seed=0, colour_sigma=0.1)
    place = 1 if by == "stored" else view
    original = batch().tiles

    moved = on_device(batch(**{by: np.array([place])}), CPU, stored)

    expected = apply_view(torch.from_numpy(original.classes), view, axes=(1, 2))
    assert torch.equal(moved.classes, expected)
    assert int((moved.classes == NOT_ANNOTATED).sum()) == 256 * 128
    assert torch.equal(moved.instances > 0, (moved.classes > 0) & (moved.classes != NOT_ANNOTATED))


def test_colours_and_blur_change_the_image_alone() -> None:
    mix = np.eye(4, 3, dtype=np.float32)[None] * 0.9
    stored = StoredViews((View(0, 0),), colour_seed=0, colour_sigma=0.1)

    plain = on_device(batch(), CPU, stored)
    changed = on_device(batch(stain_mixes=mix, blur_px=np.array([1.5], np.float32)), CPU, stored)

    assert torch.equal(changed.classes, plain.classes)
    assert not torch.equal(changed.image, plain.image)
