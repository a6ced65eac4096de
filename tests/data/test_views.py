import numpy as np
import pytest
import torch

from cellvit.config.views import GEOMETRIES
from cellvit.data.views import apply_view, apply_views, random_views
from cellvit.hover.encode import hv_maps


def instances() -> torch.Tensor:
    """Two tiles of 32 px with touching, cut and oblong nuclei."""
    maps = torch.zeros(2, 32, 32, dtype=torch.int32)
    maps[0, 3:9, 4:15] = 1
    maps[0, 3:9, 15:20] = 7
    maps[0, 20:32, 0:5] = 3
    maps[1, 10:13, 25:32] = 2
    return maps


def rotated_vectors(hv: torch.Tensor, view: int) -> torch.Tensor:
    """HV maps of tiles in the identity view, moved and with rotated vectors: the maps of the rotated tiles."""
    horizontal, vertical = apply_view(hv, view, axes=(2, 3)).unbind(1)
    if GEOMETRIES[view].startswith("flip"):
        horizontal = -horizontal
    for _ in range(view % 4):  # a counterclockwise quarter turn: right becomes up
        horizontal, vertical = vertical, -horizontal
    return torch.stack((horizontal, vertical), dim=1)


@pytest.mark.parametrize("view", range(len(GEOMETRIES)), ids=GEOMETRIES)
def test_encoding_a_rotated_tile_gives_the_rotated_encoding(view):
    rotated_first = hv_maps(apply_view(instances(), view, axes=(1, 2)))

    rotated_last = rotated_vectors(hv_maps(instances()), view)

    torch.testing.assert_close(rotated_first, rotated_last, atol=0, rtol=0)


def test_the_eight_views_of_a_tile_differ():
    tile = torch.arange(16).view(4, 4)

    views = [apply_view(tile, view, axes=(0, 1)) for view in range(len(GEOMETRIES))]

    assert len({tuple(view.flatten().tolist()) for view in views}) == len(GEOMETRIES) == 8
    assert torch.equal(views[GEOMETRIES.index("identity")], tile)
    assert torch.equal(views[GEOMETRIES.index("flip")][:, 0], tile[:, -1])


@pytest.mark.parametrize("view", range(len(GEOMETRIES)), ids=GEOMETRIES)
def test_image_tokens_and_instances_are_rotated_alike(view):
    pixels = torch.arange(64).view(1, 8, 8)
    tokens = pixels[:, None, ::4, ::4, None].expand(1, 2, 2, 2, 5)  # each token is the first pixel of its 4 x 4 patch

    rotated_pixels = apply_view(pixels, view, axes=(1, 2))
    rotated_tokens = apply_view(tokens, view, axes=(2, 3))

    patches = rotated_pixels.view(1, 2, 4, 2, 4).permute(0, 1, 3, 2, 4).reshape(1, 2, 2, 16)
    assert (patches == rotated_tokens[:, 0, ..., :1]).any(dim=-1).all()


def test_each_tile_of_a_batch_gets_its_own_view():
    batch = torch.arange(8).view(2, 2, 2)

    found = apply_views(batch, np.array([0, 4]), axes=(1, 2))

    assert found.tolist() == [[[0, 1], [2, 3]], [[5, 4], [7, 6]]]


def test_random_views_cover_all_eight_and_repeat_with_the_seed():
    views = random_views(400, np.random.default_rng(3))

    assert set(views.tolist()) == set(range(8))
    assert np.array_equal(views, random_views(400, np.random.default_rng(3)))
