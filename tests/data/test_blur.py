import numpy as np
import pytest
import torch

from cellvit.data.blur import blurred, gaussian_kernels


def images() -> torch.Tensor:
    """One bright pixel in the middle, and another one at the border, on black."""
    tiles = torch.zeros(1, 33, 33, 3, dtype=torch.uint8)
    tiles[0, 16, 16], tiles[0, 0, 5] = 255, 255
    return tiles.repeat(3, 1, 1, 1)


def kernels(sigma_px: list[float]) -> torch.Tensor:
    return torch.from_numpy(gaussian_kernels(np.array(sigma_px, np.float32)))


def test_each_tile_is_blurred_with_its_own_strength_and_zero_changes_nothing() -> None:
    found = blurred(images(), kernels([0.0, 0.5, 2.0]))

    assert torch.equal(found[0], images()[0])
    middle = found[:, 16, 16, 0].tolist()
    assert middle == sorted(middle, reverse=True)
    assert middle[2] == pytest.approx(255 / (2 * np.pi * 2.0**2), abs=1)  # the Gaussian at its centre
    assert torch.equal(blurred(images()[2:], kernels([2.0])), found[2:])


def test_a_uniform_tile_stays_as_it_is_up_to_its_border() -> None:
    tiles = torch.full((1, 16, 16, 3), 137, dtype=torch.uint8)

    assert torch.equal(blurred(tiles, kernels([2.0])), tiles)


def test_a_blur_has_no_direction() -> None:
    found = blurred(images()[:1], kernels([1.5]))[0, 8:25, 8:25, 1]

    assert torch.equal(found, found.T)
    assert torch.equal(found, found.flip(0))
