import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.metrics.contingency import contingency

EMPTY = np.zeros((4, 4), int)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_ids_up_to_the_largest_of_the_type_are_preserved(dtype: type[np.integer]) -> None:
    largest = min(np.iinfo(dtype).max, 2**62)
    truth = np.array([[1, largest]], dtype)

    table = contingency(truth, truth)

    assert table.true_labels.tolist() == [1, largest]
    assert table.overlap.tolist() == [[1, 0], [0, 1]]


def test_a_boolean_mask_is_one_nucleus() -> None:
    mask = np.array([[True, False, True]])

    assert contingency(mask, mask).overlap.tolist() == [[2]]


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (4, 7)])
def test_maps_without_nuclei_give_an_empty_table(shape: tuple[int, int]) -> None:
    table = contingency(np.zeros(shape, np.int32), np.zeros(shape, np.int32))

    assert table.overlap.shape == table.iou.shape == (0, 0)
    assert table.true_labels.size == table.predicted_area.size == 0


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        pytest.param(np.zeros((2, 3), int), np.zeros((3, 2), int), r"\(2, 3\) and \(3, 2\).*of the tile", id="shapes"),
        pytest.param(EMPTY, EMPTY - 1, r"prediction: expected ids of 0 .* found -1\..*to 0", id="negative"),
        pytest.param(EMPTY * 1.0, EMPTY, r"truth: expected an instance map.*\(4, 4\) of float64", id="float"),
        pytest.param(EMPTY[None], EMPTY[None], r"truth: expected an instance map.*\(1, 4, 4\) of int64", id="batch"),
    ],
)
def test_what_is_not_an_instance_map_is_refused(truth: np.ndarray, prediction: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        contingency(truth, prediction)
