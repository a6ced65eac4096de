from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest

from cellvit.hover.decode import segment
from cellvit.hover.encode import hv_maps
from cellvit.hover.upper_bound import PerfectMaps, perfect_maps
from cellvit.metrics import aji

Discs = Callable[..., np.ndarray]

flow = partial(segment, method="hv_flow")


def ellipse(length_px: float, width_px: float, degrees: float, size_px: int = 128) -> np.ndarray:
    """One nucleus in the middle of a tile, with full axes of the given lengths."""
    row, column = np.mgrid[:size_px, :size_px] - size_px / 2
    angle = np.deg2rad(degrees)
    along = column * np.cos(angle) + row * np.sin(angle)
    across = row * np.cos(angle) - column * np.sin(angle)
    return ((along / length_px * 2) ** 2 + (across / width_px * 2) ** 2 <= 1).astype(np.int32)


def degraded(truth: np.ndarray, *, noise: float, seed: int = 0) -> PerfectMaps:
    """Perfect maps blurred by one pixel, with noise that is correlated between neighbours, like those of a network."""
    rng = np.random.default_rng(seed)
    maps = perfect_maps(truth)

    def degrade(plane: np.ndarray) -> np.ndarray:
        shared = cv2.GaussianBlur(rng.normal(size=plane.shape).astype(np.float32), (0, 0), 2)
        return cv2.GaussianBlur(plane, (0, 0), 1) + noise * shared / shared.std()

    return PerfectMaps(degrade(maps.np_prob).clip(0, 1), np.stack([degrade(plane) for plane in maps.hv]))


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two label maps are equal except for the numbers of the labels."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other))


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90])
@pytest.mark.parametrize(("length_px", "width_px"), [(100, 80), (90, 12), (60, 6), (24, 20)])
def test_large_and_elongated_nuclei_are_not_split(length_px: float, width_px: float, degrees: float) -> None:
    truth = ellipse(length_px, width_px, degrees)

    assert np.array_equal(flow(*perfect_maps(truth)), truth)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("length_px", "width_px"), [(100, 80), (90, 20), (40, 36)])
def test_large_and_elongated_nuclei_are_not_split_by_noise(length_px: float, width_px: float, seed: int) -> None:
    maps = degraded(ellipse(length_px, width_px, 30), noise=0.2, seed=seed)

    assert flow(*maps, min_object_px=40).max() == 1


def test_flat_maps_around_the_centre_do_not_split_a_nucleus(discs: Discs) -> None:
    truth = discs((32, 32), radius_px=25)
    maps = perfect_maps(truth)
    flat = np.where(np.linalg.norm(maps.hv, axis=0) < 0.5, 0, maps.hv)

    assert np.array_equal(flow(maps.np_prob, flat), truth)


def test_hv_maps_of_zero_give_one_nucleus_per_piece_of_the_mask(discs: Discs) -> None:
    apart = discs((15, 15), (45, 45))

    labels = flow((apart > 0).astype(float), np.zeros((2, 64, 64)))

    assert same_partition(labels, apart)


def test_mask_with_holes_does_not_split_nuclei(discs: Discs) -> None:
    truth = discs((32, 22), (32, 40))
    maps = perfect_maps(truth)
    holes = np.random.default_rng(0).random(truth.shape) < 0.15
    np_prob = np.where(holes, 0, maps.np_prob)

    labels = flow(np_prob, maps.hv)

    assert labels.max() == 2
    assert aji(truth * ~holes, labels) > 0.98


@pytest.mark.parametrize("centre", [(0, 30), (63, 30), (30, 0), (30, 63), (0, 0), (63, 63)])
def test_nuclei_cut_by_the_border_are_separated_from_a_neighbour(discs: Discs, centre: tuple[int, int]) -> None:
    towards_middle = tuple(c + (14 if c < 32 else -14) for c in centre)
    truth = discs(centre, towards_middle)

    assert same_partition(flow(*perfect_maps(truth)), truth)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_flips_and_rotations_of_the_tile_give_the_same_partition(discs: Discs, turns: int, mirrored: bool) -> None:
    truth = discs((20, 20), (20, 38), (38, 22), (36, 40), (55, 30), radius_px=10)

    def view(labels: np.ndarray) -> np.ndarray:
        rotated = np.rot90(labels, turns)
        return np.ascontiguousarray(rotated[:, ::-1] if mirrored else rotated)

    assert same_partition(flow(*perfect_maps(view(truth))), view(flow(*perfect_maps(truth))))


def test_two_nuclei_whose_maps_nearly_form_one_ramp_are_separated() -> None:
    truth = np.zeros((40, 64), np.int32)
    truth[10:30, 8:32], truth[10:30, 32:56] = 1, 2
    maps = perfect_maps(truth)
    one = hv_maps((truth > 0).astype(np.int32)[None])[0]
    mixed = 0.55 * maps.hv + 0.45 * one  # horizontal: rises to 0.1, falls to -0.1, rises again

    assert same_partition(flow(maps.np_prob, mixed), truth)
    assert flow(maps.np_prob, 0.2 * maps.hv + 0.8 * one).max() == 1


def test_small_piece_joins_its_neighbour_and_an_isolated_one_is_dropped(discs: Discs) -> None:
    truth = discs((32, 32), radius_px=12)
    truth[32, 45:48] = 2  # three pixels at the rim
    truth[5, 5:8] = 3

    labels = flow(*perfect_maps(truth))

    assert labels.max() == 1
    assert labels[32, 46] == 1
    assert labels[5, 6] == 0
    assert flow(*perfect_maps(truth), min_object_px=1, min_gain_px=0).max() == 3


def test_nucleus_with_much_weaker_hv_than_the_others_is_dropped(discs: Discs) -> None:
    truth = discs((20, 20), (44, 44))
    maps = perfect_maps(truth)
    weak = np.where(truth == 2, 0.2 * maps.hv, maps.hv)

    assert flow(maps.np_prob, weak).max() == 1
    assert flow(maps.np_prob, weak, min_fit=0.1).max() == 2
    assert flow(maps.np_prob, 0.2 * maps.hv).max() == 2  # both are equally weak


@pytest.mark.real_tiles
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_degraded_maps_of_colon_lose_less_than_with_hovernet(
    colon_tiles: list[tuple[np.ndarray, np.ndarray]], noise: float
) -> None:
    tiles = [(truth, degraded(truth, noise=noise)) for _, truth in colon_tiles]

    by_flow, by_hovernet = (
        np.mean([aji(truth, segment(*maps, method=method)) for truth, maps in tiles])
        for method in ("hv_flow", "hovernet")
    )

    assert by_flow > 0.8
    assert by_flow - by_hovernet > 0.08
