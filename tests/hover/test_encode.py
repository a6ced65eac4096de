from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from cellvit.errors import ContractError
from cellvit.hover.encode import _encode, hv_maps

VIEWS = [(turns, flip) for turns in range(4) for flip in (False, True)]


def encoded(instances: np.ndarray) -> np.ndarray:
    """HV of a batch, or of one tile."""
    return hv_maps(instances) if instances.ndim == 3 else hv_maps(instances[None])[0]


def see(tensor: Tensor, turns: int, flip: bool) -> Tensor:
    """Turn counterclockwise, then mirror left to right."""
    turned = torch.rot90(tensor, turns, (-2, -1))
    return turned.flip(-1) if flip else turned


def see_vectors(hv: Tensor, turns: int, flip: bool) -> Tensor:
    """The same for a vector map: the vectors turn too. A counterclockwise turn takes right to up, down to right."""
    for _ in range(turns):
        h, v = torch.rot90(hv, 1, (-2, -1)).unbind(1)
        hv = torch.stack((v, -h), dim=1)
    return hv.flip(-1) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1) if flip else hv


def encode_one_by_one(instances: np.ndarray) -> np.ndarray:
    """The definition, nucleus by nucleus, in float64."""
    hv = np.zeros((2, *instances.shape))
    for label in np.unique(instances[instances > 0]):
        row, column = np.nonzero(instances == label)
        for channel, position in enumerate((column, row)):
            distance = position - position.mean()
            distance[np.abs(distance) < 1e-9] = 0
            for side in (distance < 0, distance > 0):
                if side.any():
                    distance[side] /= np.abs(distance[side]).max()
            hv[channel, row, column] = distance
    return hv


def test_right_and_down_are_positive() -> None:
    hv = hv_maps(torch.ones(1, 3, 3, dtype=torch.long))[0]

    assert hv.dtype == torch.float32
    assert hv[0].tolist() == [[-1, 0, 1]] * 3
    assert hv[1].tolist() == [[-1] * 3, [0] * 3, [1] * 3]


def test_each_side_of_the_centre_reaches_one() -> None:
    hv = hv_maps(torch.tensor([[[4, 4, 4, 4, 0], [4, 0, 0, 0, 0]]]))[0, 0]

    assert hv[0].tolist() == pytest.approx([-1, -0.2 / 1.2, 0.8 / 1.8, 1, 0])
    assert hv.min() == -1
    assert hv.max() == 1


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{90 * view[0]}{'_mirrored' if view[1] else ''}")
@given(hnp.arrays(np.int32, (2, 9, 9), elements=st.integers(0, 5)))
def test_flips_and_turns_commute_with_encoding_bit_for_bit(view: tuple[int, bool], instances: np.ndarray) -> None:
    tiles = torch.from_numpy(instances)

    assert torch.equal(hv_maps(see(tiles, *view)), see_vectors(hv_maps(tiles), *view))


@given(hnp.arrays(np.int32, (7, 10), elements=st.integers(0, 4)))
def test_maps_equal_the_definition_nucleus_by_nucleus(instances: np.ndarray) -> None:
    assert encoded(instances) == pytest.approx(encode_one_by_one(instances), abs=1e-6)


@given(hnp.arrays(np.int32, (3, 6, 7), elements=st.integers(0, 6)))
def test_values_are_finite_in_range_and_zero_on_background(instances: np.ndarray) -> None:
    hv = encoded(instances)

    assert np.isfinite(hv).all()
    assert np.abs(hv).max() <= 1
    assert not hv[np.broadcast_to(instances[:, None] == 0, hv.shape)].any()


@given(hnp.arrays(np.int32, (4, 6, 5), elements=st.integers(0, 3)))
def test_tiles_of_a_batch_do_not_mix(instances: np.ndarray) -> None:
    assert np.array_equal(encoded(instances), np.stack([encoded(tile) for tile in instances]))


@given(hnp.arrays(np.int64, (2, 6, 5), elements=st.integers(0, 3)), st.sampled_from([2, 251, 40_001, 2**40]))
def test_only_which_pixels_share_an_id_matters(instances: np.ndarray, spread: int) -> None:
    assert np.array_equal(encoded(instances * spread), encoded(instances))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_every_integer_type_gives_the_same(dtype: type) -> None:
    instances = np.array([[0, 200, 200], [200, 0, 3]])

    assert np.array_equal(encoded(instances.astype(dtype)), encoded(instances))


@given(hnp.arrays(np.int64, (3, 6, 7), elements=st.sampled_from([0, 1, 2, 5, 300, 2**40])))
def test_code_of_other_devices_gives_the_bits_of_numpy(instances: np.ndarray) -> None:
    hv = torch.zeros(3, 2, 6, 7)

    _encode(torch.from_numpy(instances), hv)  # CPU tensors go through numpy: this is the code that a GPU runs

    assert np.array_equal(hv.numpy(), hv_maps(instances))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{90 * view[0]}{'_mirrored' if view[1] else ''}")
def test_flips_and_turns_commute_on_large_maps_too(view: tuple[int, bool]) -> None:
    row, column = np.mgrid[:400, :400]
    shape = ((row - 170) / 160) ** 2 + ((column - 210) / 180) ** 2 + row * column / 90_000 <= 1
    instances = torch.from_numpy(np.where(shape, 1, 2 * (row > 350)))[None]  # distances beyond 2**24

    assert torch.equal(hv_maps(see(instances, *view)), see_vectors(hv_maps(instances), *view))


def test_one_pixel_is_zero_and_a_line_is_flat_across() -> None:
    hv = encoded(np.array([[5, 0, 0], [0, 0, 0], [7, 7, 7]]))

    assert hv[:, 0, 0].tolist() == [0, 0]
    assert hv[0, 2].tolist() == [-1, 0, 1]
    assert hv[1, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(2, 4, 4), (0, 4, 4)])
def test_no_nuclei_or_no_tiles_give_zero_maps(shape: tuple[int, ...]) -> None:
    hv = hv_maps(torch.zeros(shape, dtype=torch.int32))

    assert hv.shape == (shape[0], 2, 4, 4)
    assert not hv.any()


def test_mean_magnitude_of_a_disc_is_two_thirds(discs: Callable[..., np.ndarray]) -> None:
    disc = discs((32, 32), radius_px=25)

    assert np.linalg.norm(encoded(disc), axis=0)[disc > 0].mean() == pytest.approx(2 / 3, abs=0.01)


def test_arrays_that_may_not_be_written_are_read() -> None:
    instances = np.array([[1, 1, 0]])
    instances.flags.writeable = False

    assert encoded(instances).shape == (2, 1, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(torch.zeros(4, 4, dtype=torch.long), id="no_batch"),
        pytest.param(torch.zeros(1, 4, 4), id="float"),
        pytest.param(torch.zeros(1, 4, 4, dtype=torch.bool), id="mask"),
        pytest.param(torch.full((1, 4, 4), -1), id="negative"),
    ],
)
def test_what_is_no_instance_map_is_refused(wrong: Tensor) -> None:
    with pytest.raises(ContractError, match="instance"):
        hv_maps(wrong)
