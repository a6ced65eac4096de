"""Views of tiles: flips and rotations, sampled colours."""

import numpy as np
import pytest
import torch
from skimage.color import rgb_from_hed

from cellvit.config.views import GEOMETRIES
from cellvit.data.stain import recoloured, stain_mix
from cellvit.data.stain_colours import COLOURS_OF_STAINS
from cellvit.data.views import (
    View,
    apply_view,
    apply_view_to_vectors,
    apply_views,
    composed,
    inverse_view,
    random_views,
    seen,
)
from cellvit.hover.encode import hv_maps

IDS = ("f1-00000", "f1-00001")
in_each_geometry = pytest.mark.parametrize("view", range(len(GEOMETRIES)), ids=GEOMETRIES)


def instances() -> torch.Tensor:
    """Two tiles of 32 px with touching, cut and oblong nuclei."""
    maps = torch.zeros(2, 32, 32, dtype=torch.int32)
    maps[0, 3:9, 4:15] = 1
    maps[0, 3:9, 15:20] = 7
    maps[0, 20:32, 0:5] = 3
    maps[1, 10:13, 25:32] = 2
    return maps


@in_each_geometry
def test_encoding_a_rotated_tile_gives_the_rotated_encoding(view):
    rotated_first = hv_maps(apply_view(instances(), view, axes=(1, 2)))
    rotated_last = apply_view_to_vectors(hv_maps(instances()), view)

    torch.testing.assert_close(rotated_first, rotated_last, atol=0, rtol=0)


def test_the_eight_views_of_a_tile_differ():
    tile = torch.arange(16).view(4, 4)

    views = [apply_view(tile, view, axes=(0, 1)) for view in range(len(GEOMETRIES))]

    assert len({tuple(view.flatten().tolist()) for view in views}) == len(GEOMETRIES) == 8
    assert torch.equal(views[GEOMETRIES.index("identity")], tile)
    assert torch.equal(views[GEOMETRIES.index("flip")][:, 0], tile[:, -1])


@in_each_geometry
def test_the_inverse_takes_back_a_flip_or_rotation_of_pixels_and_vectors(view):
    tiles = instances()

    there_and_back = apply_view(apply_view(tiles, view, axes=(1, 2)), inverse_view(view), axes=(1, 2))
    vectors = apply_view_to_vectors(apply_view_to_vectors(hv_maps(tiles), view), inverse_view(view))

    assert torch.equal(there_and_back, tiles)
    torch.testing.assert_close(vectors, hv_maps(tiles), atol=0, rtol=0)


@in_each_geometry
def test_image_tokens_and_instances_are_rotated_alike(view):
    pixels = torch.arange(64).view(1, 8, 8)
    tokens = pixels[:, None, ::4, ::4, None].expand(1, 2, 2, 2, 5)  # each token is the first pixel of its 4 x 4 patch

    rotated_pixels = apply_view(pixels, view, axes=(1, 2))
    rotated_tokens = apply_view(tokens, view, axes=(2, 3))

    patches = rotated_pixels.view(1, 2, 4, 2, 4).permute(0, 1, 3, 2, 4).reshape(1, 2, 2, 16)
    assert (patches == rotated_tokens[:, 0, ..., :1]).any(dim=-1).all()


def test_each_tile_of_a_batch_gets_its_own_view():
    batch = torch.arange(8).view(2, 2, 2)

    found = apply_views(batch, torch.tensor([0, 4]), axes=(1, 2))

    assert found.tolist() == [[[0, 1], [2, 3]], [[5, 4], [7, 6]]]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((9, 16, 16), (1, 2)), ((9, 16, 16, 3), (1, 2)), ((9, 2, 6, 6, 5), (2, 3)), ((0, 4, 4), (1, 2))],
    ids=["instances", "image", "tokens", "no_tiles"],
)
def test_a_gather_gives_the_bits_of_flipping_and_rotating_tile_by_tile(shape, axes):
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(rng.integers(0, 100, shape))
    geometries = torch.arange(shape[0]) % len(GEOMETRIES)
    inner = (axes[0] - 1, axes[1] - 1)

    found = apply_views(batch, geometries, axes=axes)

    assert found.is_contiguous()
    assert found.shape == batch.shape
    assert all(
        torch.equal(tile, apply_view(before, int(geometry), axes=inner))
        for tile, before, geometry in zip(found, batch, geometries, strict=True)
    )


def test_a_composed_geometry_is_both_one_after_the_other():
    first, then = (values.ravel() for values in np.mgrid[:8, :8])
    tile = torch.arange(9).view(3, 3)

    both = composed(first, then)

    for one, other, number in zip(first, then, both, strict=True):
        expected = apply_view(apply_view(tile, one, axes=(0, 1)), other, axes=(0, 1))
        assert torch.equal(apply_view(tile, number, axes=(0, 1)), expected)


def test_random_views_cover_all_eight_and_repeat_with_the_seed():
    views = random_views(400, np.random.default_rng(3))

    assert set(views.tolist()) == set(range(8))
    assert np.array_equal(views, random_views(400, np.random.default_rng(3)))


def stained_tiles() -> torch.Tensor:
    """Two tiles of purple and pink, as in H&E."""
    rng = np.random.default_rng(0)
    colours = np.array([[104, 60, 140], [222, 160, 190], [190, 120, 165]], np.uint8)
    return torch.from_numpy(colours[rng.integers(3, size=(2, 16, 16))])


def sampled(images: torch.Tensor, colour: int, *, ids=IDS, seed: int = 0, sigma: float = 0.05) -> torch.Tensor:
    return recoloured(images, ids, [colour] * len(images), seed=seed, sigma=sigma)


def test_stains_are_those_of_skimage():
    np.testing.assert_allclose(COLOURS_OF_STAINS, rgb_from_hed)


def test_sampled_colours_depend_on_number_tile_and_seed_and_not_on_the_batch():
    images = stained_tiles()[:1].expand(2, -1, -1, -1)

    first = sampled(images, 1)

    assert not torch.equal(first, images)
    assert not torch.equal(first, sampled(images, 2))
    assert not torch.equal(first, sampled(images, 1, seed=1))
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[1:], sampled(images[1:], 1, ids=IDS[1:]))
    mixed = recoloured(images, IDS, [0, 1], seed=0, sigma=0.05)
    assert torch.equal(mixed, torch.stack([images[0], first[1]]))


def test_background_keeps_its_colour_where_tissue_changes():
    white, grey = (torch.full((1, 16, 16, 3), level, dtype=torch.uint8) for level in (255, 240))
    images = torch.cat([white, grey, stained_tiles()[:1]])

    samples = torch.stack([sampled(images, colour, ids=IDS[:1] * 3) for colour in range(1, 40)])

    changes = (samples.int() - images.int()).abs().amax((0, 2, 3, 4)).tolist()
    assert changes[0] == 0
    assert changes[1] <= 3
    assert changes[2] >= 15


def test_each_stain_is_scaled_and_shifted_within_sigma():
    to_stains = np.linalg.inv(rgb_from_hed)

    mixes = [stain_mix(f"f1-{row:05d}", 1, seed=0, sigma=0.1) for row in range(200)]
    of_stains = np.array([rgb_from_hed @ mix[:3] @ to_stains for mix in mixes])
    scales, shifts = of_stains[:, range(3), range(3)], np.array([mix[3] @ to_stains for mix in mixes])

    np.testing.assert_allclose(of_stains - scales[:, None] * np.eye(3), 0, atol=1e-12)
    assert 0.9 <= scales.min() < 0.92
    assert 1.08 < scales.max() <= 1.1
    assert -0.1 <= shifts.min() < -0.08
    assert 0.08 < shifts.max() <= 0.1


def test_black_and_saturated_pixels_stay_in_range():
    extremes = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 255, 255], [1, 1, 1]], dtype=torch.uint8).view(1, 2, 2, 3)

    found = sampled(extremes, 1, ids=IDS[:1], sigma=0.5)

    assert found.shape == extremes.shape
    assert found[0, 0, 0].max() <= 40  # black stays dark


def test_a_colour_view_is_recoloured_and_then_rotated():
    images = stained_tiles()

    found = seen(images, IDS, View(GEOMETRIES.index("rotate90"), 1), seed=0, sigma=0.05)

    assert torch.equal(found, torch.rot90(sampled(images, 1), 1, (1, 2)))
