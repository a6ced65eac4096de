"""The prediction of a batch on torch's meta device: nothing is read back, and no tensor is made on another device.

On a GPU, the host would wait for a value that it reads, and a tensor of the CPU would be an error. The fallback of tiles that
are unlike the training data does read: which tiles these are decides what is computed.
"""

from pathlib import Path

import pytest
import torch
from one_device import META, OneDevice

from cellvit.formats.bundle import read_bundle
from cellvit.prediction.blending import Blender
from cellvit.prediction.grid import tile_grid
from cellvit.prediction.models import TilePredictor, load_ensemble

TILES = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("n_bundles", [1, 2])
@pytest.mark.parametrize("average_views", [False, True])
def test_a_batch_is_predicted_and_blended_without_leaving_the_device(
    small_bundle: Path, n_bundles: int, average_views: bool
) -> None:
    ensemble = load_ensemble([read_bundle(small_bundle)] * n_bundles, META)
    predictor = TilePredictor(ensemble, ensemble.decoders(["all"] * n_bundles, average_views=average_views))
    blender, images = (
        Blender(tile_grid(384, 384), (0, 1), META),
        torch.empty((4, 256, 256, 3), dtype=torch.uint8, device=META),
    )
    blender.add(TILES, predictor.predicted(images).maps)
    blender.window(0, 0)  # copies the shares of the tiles to the device, once

    with OneDevice():
        found = predictor.predicted(images)
        blender.add(TILES, found.maps)
        window = blender.window(1, 1)

    assert window.device == META
    assert window.shape == (1 + 2 + 6, 256, 256)
    assert found.cls.shape == (4, ensemble.encoder.dim)


def test_reading_a_value_would_be_found() -> None:
    with pytest.raises(RuntimeError, match="meta"), OneDevice():
        torch.ones(3, device=META).sum().item()


def test_a_tensor_of_the_host_would_be_found() -> None:
    with pytest.raises(AssertionError, match="a tensor of cpu"), OneDevice():
        torch.ones(3)
