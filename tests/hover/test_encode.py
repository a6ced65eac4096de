from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from cellvit.errors import ContractError
from cellvit.hover.encode import hv_maps, hv_of_any_ids
from cellvit.hover.encode_tensors import hv_by_tables

VIEWS = [(turns, flip) for turns in range(4) for flip in (False, True)]


def encoded(instances: np.ndarray) -> np.ndarray:
    """HV of a batch, or of one tile."""
    return hv_maps(instances) if instances.ndim == 3 else hv_maps(instances[None])[0]


def rotated(tensor: Tensor, turns: int, flip: bool) -> Tensor:
    """Rotate counterclockwise by quarter turns, then flip left to right."""
    tensor = torch.rot90(tensor, turns, (-2, -1))
    return tensor.flip(-1) if flip else tensor


def rotated_vectors(hv: Tensor, turns: int, flip: bool) -> Tensor:
    """The same for a vector map, with the vectors: a counterclockwise quarter turn takes right to up, down to right."""
    for _ in range(turns):
        h, v = torch.rot90(hv, 1, (-2, -1)).unbind(1)
        hv = torch.stack((v, -h), dim=1)
    return hv.flip(-1) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1) if flip else hv


def large_map() -> np.ndarray:
    """Two nuclei whose distances, times their areas, exceed 2^24."""
    row, column = np.mgrid[:400, :400]
    shape = ((row - 170) / 160) ** 2 + ((column - 210) / 180) ** 2 + row * column / 90_000 <= 1
    return np.where(shape, 1, 2 * (row > 350))[None]


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


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{90 * view[0]}{'_flipped' if view[1] else ''}")
@given(hnp.arrays(np.int32, (2, 9, 9), elements=st.integers(0, 5)))
@example(large_map())
def test_flips_and_rotations_commute_with_encoding_bit_for_bit(view: tuple[int, bool], instances: np.ndarray) -> None:
    tiles = torch.from_numpy(instances)

    assert torch.equal(hv_maps(rotated(tiles, *view)), rotated_vectors(hv_maps(tiles), *view))


@given(hnp.arrays(np.int32, (7, 10), elements=st.integers(0, 4)))
def test_maps_are_in_range_and_zero_on_background_and_the_instances_are_not_changed(instances: np.ndarray) -> None:
    instances.flags.writeable = False

    hv = encoded(instances)

    assert np.abs(hv).max() <= 1
    assert not hv[:, instances == 0].any()


@given(hnp.arrays(np.int32, (4, 6, 5), elements=st.integers(0, 3)))
def test_tiles_of_a_batch_do_not_mix(instances: np.ndarray) -> None:
    assert np.array_equal(encoded(instances), np.stack([encoded(tile) for tile in instances]))


@given(hnp.arrays(np.int64, (2, 6, 5), elements=st.integers(0, 3)), st.sampled_from([2, 251, 40_001, 2**40]))
def test_values_and_types_of_the_ids_and_the_device_do_not_matter(instances: np.ndarray, spread: int) -> None:
    expected = encoded(instances)

    of_device = hv_of_any_ids(torch.from_numpy(instances * spread))  # hv_maps encodes tensors of a CPU with numpy

    assert np.array_equal(of_device.numpy(), expected)
    assert np.array_equal(encoded(instances * spread), expected)
    for dtype in (np.uint8, np.int16, np.uint16, np.int32, np.uint32):
        assert np.array_equal(encoded(instances.astype(dtype)), expected)
        assert np.array_equal(hv_maps(torch.from_numpy(instances.astype(dtype))).numpy(), expected)


def random_tiles() -> np.ndarray:
    """Tiles of 256 px: cut and touching nuclei of several parts, pixels alone, a nucleus that covers the tile, none."""
    rng, tiles = np.random.default_rng(0), np.zeros((4, 256, 256), np.int32)
    for label in range(1, 201):
        row, column = rng.integers(-8, 256, 2)
        tiles[0, max(row, 0) : row + rng.integers(1, 24), max(column, 0) : column + rng.integers(1, 24)] = label
    tiles[1] = rng.integers(0, 90, (256, 256))
    tiles[2] = 1
    return tiles


@pytest.mark.parametrize("largest_id", [200, 256 * 256])
def test_tables_of_a_device_give_the_bits_of_numpy_for_tiles_of_a_store(largest_id: int) -> None:
    tiles = random_tiles()

    found = hv_by_tables(torch.from_numpy(tiles), largest_id)

    assert found.is_contiguous()
    assert np.array_equal(found.numpy(), hv_maps(tiles))


@given(hnp.arrays(np.int32, (2, 9, 9), elements=st.integers(0, 5)), st.integers(5, 90))
@example(large_map(), 2)
def test_tables_of_a_device_give_the_bits_of_numpy_whatever_the_largest_id(
    instances: np.ndarray, largest_id: int
) -> None:
    found = hv_by_tables(torch.from_numpy(instances), largest_id)

    assert np.array_equal(found.numpy(), hv_maps(instances))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{90 * view[0]}{'_flipped' if view[1] else ''}")
def test_flips_and_rotations_commute_with_the_tables_of_a_device_bit_for_bit(view: tuple[int, bool]) -> None:
    tiles = torch.from_numpy(random_tiles())

    assert torch.equal(hv_by_tables(rotated(tiles, *view), 200), rotated_vectors(hv_by_tables(tiles, 200), *view))


def test_a_device_computes_without_reading_a_value_where_the_largest_id_is_given() -> None:
    instances = torch.zeros(2, 8, 8, dtype=torch.int32, device="meta")

    assert hv_maps(instances, largest_id=64).shape == (2, 2, 8, 8)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        hv_maps(instances)


@pytest.mark.parametrize("ids", [torch.full((1, 2, 2), -3), torch.tensor([[[2, -1]]])])
def test_negative_ids_of_a_device_are_refused_where_they_are_read(ids: Tensor) -> None:
    with pytest.raises(ContractError, match="0 or more"):
        hv_of_any_ids(ids)


@pytest.mark.parametrize("shape", [(2, 4, 4), (0, 4, 4)])
def test_no_nuclei_or_no_tiles_give_zero_maps(shape: tuple[int, ...]) -> None:
    hv = hv_maps(torch.zeros(shape, dtype=torch.int32))

    assert hv.shape == (shape[0], 2, 4, 4)
    assert not hv.any()


def test_mean_length_of_a_disc_is_two_thirds(discs: Callable[..., np.ndarray]) -> None:
    disc = discs((32, 32), radius_px=25)

    assert np.linalg.norm(encoded(disc), axis=0)[disc > 0].mean() == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(torch.zeros(4, 4, dtype=torch.long), id="no_batch"),
        pytest.param(torch.zeros(1, 4, 4), id="float"),
        pytest.param(torch.zeros(1, 4, 4, dtype=torch.bool), id="mask"),
        pytest.param(torch.full((1, 4, 4), -1), id="negative"),
    ],
)
def test_what_is_not_an_instance_map_is_refused(wrong: Tensor) -> None:
    with pytest.raises(ContractError, match="instance"):
        hv_maps(wrong)
