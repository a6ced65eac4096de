import numpy as np
import pytest

from cellvit.errors import ContractError
from cellvit.hover.renumber import TABLE_IDS, renumber
from cellvit.metrics.instances import centroids, majority_classes


@pytest.mark.parametrize("shift", [0, TABLE_IDS], ids=["by_table", "by_sorting"])
def test_renumbering_keeps_the_order_and_can_be_undone(shift: int) -> None:
    ids = np.array([0, 5, 9, 5, 7], np.int64)
    ids[ids > 0] += shift

    labels, places = renumber(ids)

    assert places.tolist() == [0, 1, 3, 1, 2]
    assert np.concatenate([[0], labels])[places].tolist() == ids.tolist()


def test_background_pixels_do_not_vote_and_the_smaller_class_wins_a_tie() -> None:
    instances = np.array([[1, 1, 1, 1, 6, 6, 8]])
    classes = np.array([[0, 0, 0, 4, 5, 2, 0]], np.uint8)

    assert majority_classes(instances, classes).tolist() == [4, 2, 0]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (np.array([[6, 1]]), r"0\.\.5 .*found 1\.\.6"),
        (np.array([[1.0, 1.0]]), r"found 1\.0\.\.1\.0 of float64"),
        (np.array([[1]]), r"\(1, 2\) and \(1, 1\)"),
    ],
)
def test_wrong_class_maps_are_refused(classes: np.ndarray, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        majority_classes(np.array([[1, 2]]), classes)


def test_centroids_are_rows_and_columns_in_the_order_of_labels() -> None:
    instances = np.zeros((5, 7), np.uint16)
    instances[1:4, 5:7] = 3
    instances[4, 0] = 2

    assert centroids(instances).tolist() == [[4.0, 0.0], [2.0, 5.5]]
    assert centroids(np.zeros((5, 7), np.uint16)).shape == (0, 2)
