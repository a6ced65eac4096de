from collections.abc import Callable

import numpy as np
import pytest

from cellvit.hover.decode import segment
from cellvit.hover.hovernet import border_energy
from cellvit.hover.oracle import OracleMaps, oracle_maps

Discs = Callable[..., np.ndarray]


@pytest.fixture
def pair(discs: Discs) -> OracleMaps:
    """Perfect maps of two discs that touch."""
    return oracle_maps(discs((32, 22), (32, 40)))


def test_border_energy_is_high_between_touching_nuclei_and_low_inside(pair: OracleMaps) -> None:
    energy = border_energy(pair.hv, 21)

    assert energy[32, 31] > 0.9
    assert max(energy[32, 22], energy[32, 40]) < 0.4
    assert energy.min() >= 0
    assert energy.max() <= 1


@pytest.mark.parametrize(
    "np_prob",
    [
        pytest.param(np.zeros((32, 32), np.float32), id="no_nucleus"),
        pytest.param(np.ones((32, 32), np.float32), id="all_nucleus"),
    ],
)
def test_constant_distance_maps_seed_nothing(np_prob: np.ndarray) -> None:
    assert not segment(np_prob, np.zeros((2, 32, 32), np.float32)).any()


def test_marker_parameters_drop_nuclei_whose_marker_is_too_small(pair: OracleMaps) -> None:
    assert segment(*pair, hv_threshold=0.0).max() == 0
    assert segment(*pair, min_marker_px=250).max() == 0
    assert segment(*pair, opening_px=41).max() == 0


def test_larger_sobel_kernel_gives_a_smoother_energy(pair: OracleMaps) -> None:
    hv = pair.hv + np.random.default_rng(0).normal(0, 0.2, pair.hv.shape).astype(np.float32)

    roughness = [np.abs(np.diff(border_energy(hv, sobel_px))).mean() for sobel_px in (5, 11, 21)]

    assert roughness[0] > roughness[1] > roughness[2]
