import numpy as np
import pytest
import torch

from cellvit.evaluation.map_sums import sums_on_device
from cellvit.inference.pixel_maps import PixelMaps, pixel_maps
from cellvit.inference.tensors import TensorBatch
from cellvit.metrics.maps import COLUMNS, MapSums
from cellvit.models.hovernet import HoverMaps

COUNTS = [number for number, name in enumerate(COLUMNS) if not name.startswith("hv")]


@pytest.fixture(params=[3, 0], ids=["tiles", "no_tiles"])
def truth(request: pytest.FixtureRequest) -> TensorBatch:
    """Tiles with nuclei of each class; the last has none."""
    rng, n = np.random.default_rng(0), request.param
    instances = np.zeros((n, 256, 256), np.int32)
    for tile in instances[: n - 1]:
        for label in range(1, 40):
            row, column = rng.integers(0, 250, 2)
            tile[row : row + 17, column : column + 23] = label
    classes = np.where(instances > 0, 1 + instances % 5, 0).astype(np.uint8)
    unread = torch.zeros(n, 1), torch.zeros(n, 3)
    return TensorBatch(*unread, torch.from_numpy(instances), torch.from_numpy(classes))


def maps_of(n: int, dtype: torch.dtype) -> PixelMaps:
    generator = torch.Generator().manual_seed(0)
    return pixel_maps(HoverMaps(*(torch.randn(n, c, 256, 256, generator=generator).to(dtype) for c in (2, 2, 6))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("right", [None, 1.0, 0.5, 0.0], ids=["random", "perfect", "too_short", "zero"])
def test_sums_of_a_device_are_those_of_numpy(truth: TensorBatch, dtype: torch.dtype, right: float | None) -> None:
    maps, hv_true = maps_of(len(truth.instances), dtype), truth.hv_maps()
    if right is not None:
        maps = maps._replace(hv=(right * hv_true).to(dtype).float())

    found = sums_on_device(maps, truth, hv_true).numpy()

    expected = MapSums.of(
        maps.np_prob.numpy(),
        maps.hv.numpy(),
        maps.nt_prob.argmax(dim=1).numpy(),
        truth.instances.numpy(),
        truth.classes.numpy(),
        hv_true.numpy(),
    ).rows
    np.testing.assert_array_equal(found[:, COUNTS], expected[:, COUNTS])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def test_what_is_predicted_for_hv_outside_nuclei_does_not_matter(truth: TensorBatch) -> None:
    maps, hv_true = maps_of(len(truth.instances), torch.float32), truth.hv_maps()
    elsewhere = torch.where(truth.instances.unsqueeze(1) > 0, maps.hv, torch.nan)

    found = sums_on_device(maps._replace(hv=elsewhere), truth, hv_true)

    assert torch.equal(found, sums_on_device(maps, truth, hv_true))
