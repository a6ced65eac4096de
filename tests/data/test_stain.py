import numpy as np
import torch
from skimage.color import rgb_from_hed

from cellvit.config.views import GEOMETRIES
from cellvit.data import stain
from cellvit.data.stain import recoloured, stain_mix
from cellvit.data.views import View, seen

IDS = ("f1-00000", "f1-00001")


def stained_tiles() -> torch.Tensor:
    """Two tiles of purple and pink, as in H&E."""
    rng = np.random.default_rng(0)
    colours = np.array([[104, 60, 140], [222, 160, 190], [190, 120, 165]], np.uint8)
    return torch.from_numpy(colours[rng.integers(3, size=(2, 16, 16))])


def sampled(images: torch.Tensor, colour: int, *, ids=IDS, seed: int = 0, sigma: float = 0.05) -> torch.Tensor:
    return recoloured(images, ids, [colour] * len(images), seed=seed, sigma=sigma)


def test_stains_are_those_of_skimage():
    np.testing.assert_allclose(stain._COLOURS_OF_STAINS, rgb_from_hed)


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
    white, grey = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8), torch.full((1, 4, 4, 3), 240, dtype=torch.uint8)
    tissue = stained_tiles()[:1]
    changes = {"white": 0, "grey": 0, "tissue": 0}

    for colour in range(1, 40):
        for name, image in (("white", white), ("grey", grey), ("tissue", tissue)):
            change = (sampled(image, colour, ids=IDS[:1]).int() - image.int()).abs().max()
            changes[name] = max(changes[name], int(change))

    assert changes["white"] == 0
    assert changes["grey"] <= 3
    assert changes["tissue"] >= 15


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
