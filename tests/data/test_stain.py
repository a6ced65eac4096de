import numpy as np
import torch
from skimage.color import rgb_from_hed

from cellvit.data import stain
from cellvit.data.stain import recoloured, stain_mix
from cellvit.data.views import VIEWS, View, seen

IDS = ("f1-00000", "f1-00001")


def stained_tiles() -> torch.Tensor:
    """Two tiles of purple and pink, as H&E has them."""
    rng = np.random.default_rng(0)
    colours = np.array([[104, 60, 140], [222, 160, 190], [190, 120, 165]], np.uint8)
    return torch.from_numpy(colours[rng.integers(3, size=(2, 16, 16))])


def drawn(images: torch.Tensor, draw: int, *, ids=IDS, seed: int = 0, sigma: float = 0.05) -> torch.Tensor:
    return recoloured(images, ids, [draw] * len(images), seed=seed, sigma=sigma)


def test_stains_are_those_of_skimage():
    np.testing.assert_allclose(stain._COLOURS_OF_STAINS, rgb_from_hed)


def test_a_draw_is_the_same_whatever_the_batch():
    images = stained_tiles()

    together, alone = drawn(images, 2), drawn(images[1:], 2, ids=IDS[1:])

    assert together.dtype == torch.uint8
    assert torch.equal(together[1:], alone)


def test_draws_differ_by_number_tile_and_seed():
    images = stained_tiles()[:1].expand(2, -1, -1, -1)

    first = drawn(images, 1)

    assert not torch.equal(first, images)
    assert not torch.equal(first, drawn(images, 2))
    assert not torch.equal(first, drawn(images, 1, seed=1))
    assert not torch.equal(first[0], first[1])


def test_draw_0_leaves_the_colours_beside_other_draws():
    images = stained_tiles()

    found = recoloured(images, IDS, [0, 1], seed=0, sigma=0.05)

    assert torch.equal(found[0], images[0])
    assert not torch.equal(found[1], images[1])


def test_background_keeps_its_colour_where_tissue_changes():
    white, grey = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8), torch.full((1, 4, 4, 3), 240, dtype=torch.uint8)
    tissue = stained_tiles()[:1]
    changes = {"white": 0, "grey": 0, "tissue": 0}

    for draw in range(1, 40):
        for name, image in (("white", white), ("grey", grey), ("tissue", tissue)):
            change = (drawn(image, draw, ids=IDS[:1]).int() - image.int()).abs().max()
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

    found = drawn(extremes, 1, ids=IDS[:1], sigma=0.5)

    assert found.shape == extremes.shape
    assert found[0, 0, 0].max() <= 40  # black stays dark


def test_a_colour_view_is_recoloured_and_then_turned():
    images = stained_tiles()

    found = seen(images, IDS, View(VIEWS.index("rotate90"), 1), seed=0, sigma=0.05)

    assert torch.equal(found, torch.rot90(drawn(images, 1), 1, (1, 2)))
