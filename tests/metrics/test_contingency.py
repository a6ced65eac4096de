import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.contingency import contingency


def test_labels_are_ascending_and_areas_count_every_pixel_of_a_nucleus() -> None:
    truth = np.array([[9, 9, 2], [0, 9, 2]], np.int32)
    found = np.array([[0, 4, 4], [4, 0, 0]], np.uint16)

    table = contingency(truth, found)

    assert table.true_labels.tolist() == [2, 9]
    assert table.found_labels.tolist() == [4]
    assert table.overlap.tolist() == [[1], [1]]
    assert table.true_area.tolist() == [2, 3]
    assert table.found_area.tolist() == [3]
    assert table.overlap.dtype == table.true_area.dtype == table.found_area.dtype == np.int64
    np.testing.assert_allclose(table.iou, [[1 / 4], [1 / 5]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_ids_up_to_the_largest_of_the_type_are_kept(dtype: type[np.integer]) -> None:
    largest = min(np.iinfo(dtype).max, 2**62)
    truth = np.array([[1, largest]], dtype)

    table = contingency(truth, truth)

    assert table.true_labels.tolist() == [1, largest]
    assert table.overlap.tolist() == [[1, 0], [0, 1]]


def test_a_boolean_mask_is_one_nucleus() -> None:
    mask = np.array([[True, False, True]])

    table = contingency(mask, mask)

    assert table.overlap.tolist() == [[2]]


@pytest.mark.parametrize(("h", "w"), [(0, 0), (1, 1), (4, 7)])
def test_maps_without_nuclei_give_an_empty_table(h: int, w: int) -> None:
    empty = np.zeros((h, w), np.int32)

    table = contingency(empty, empty)

    assert table.overlap.shape == table.iou.shape == (0, 0)
    assert table.true_labels.size == table.found_area.size == 0


def test_different_shapes_are_refused_with_both() -> None:
    with pytest.raises(ContractError, match=r"\(2, 3\) and \(3, 2\).*resolution of the tile"):
        contingency(np.zeros((2, 3), int), np.zeros((3, 2), int))


def test_negative_ids_are_refused_with_the_remedy() -> None:
    with pytest.raises(ContractError, match=r"found: expected ids of 0 .* found -1\..*to 0"):
        contingency(np.zeros((1, 2), int), np.array([[0, -1]]))


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((1, 4, 4), int)], ids=["float", "batch"])
def test_what_is_no_instance_map_is_refused_with_shape_and_type(wrong: np.ndarray) -> None:
    with pytest.raises(
        ContractError, match=r"truth: expected an instance map.*found shape \(.*4, 4\) of (float|int)64"
    ):
        contingency(wrong, wrong)
