from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.errors import ContractError
from cellvit.hover.relabel import relabel
from cellvit.hover.table import nucleus_table

Discs = Callable[..., np.ndarray]


def flat_types(instances: np.ndarray) -> np.ndarray:
    return np.full((6, *instances.shape), 1 / 6, np.float32)


@given(hnp.arrays(np.int32, (7, 9), elements=st.integers(0, 5)))
def test_areas_centroids_and_boxes_are_those_of_the_pixels(ids: np.ndarray) -> None:
    instances = relabel(ids)

    table = nucleus_table(instances, flat_types(instances))

    assert len(table) == len(table.contour) == instances.max()
    for label in range(1, len(table) + 1):
        row, column = np.nonzero(instances == label)
        assert table.area_px[label - 1] == len(row)
        assert table.centroid[label - 1] == pytest.approx([row.mean(), column.mean()])
        assert table.box[label - 1].tolist() == [row.min(), column.min(), row.max() + 1, column.max() + 1]
        assert instances[table.contour[label - 1][:, 1], table.contour[label - 1][:, 0]].tolist() == [label] * len(
            table.contour[label - 1]
        )


def test_filled_contours_reproduce_touching_nuclei(discs: Discs) -> None:
    instances = discs((32, 22), (32, 40), (4, 60))

    table = nucleus_table(instances, flat_types(instances))

    filled = np.zeros_like(instances)
    for label, contour in enumerate(table.contour, start=1):
        cv2.fillPoly(filled, [contour], label)
    assert np.array_equal(filled, instances)


def test_contour_is_that_of_the_largest_piece_and_one_point_for_one_pixel() -> None:
    instances = np.zeros((8, 12), np.int32)
    instances[1, 1], instances[3:7, 4:10], instances[2, 11] = 1, 1, 2

    contour, point = nucleus_table(instances, flat_types(instances)).contour

    assert sorted(contour.tolist()) == [[4, 3], [4, 6], [9, 3], [9, 6]]
    assert point.tolist() == [[11, 2]]


def test_tile_without_nuclei_has_an_empty_table() -> None:
    table = nucleus_table(np.zeros((4, 4), np.int32), flat_types(np.zeros((4, 4))))

    assert len(table) == 0
    assert table.centroid.shape == (0, 2)
    assert table.box.shape == (0, 4)
    assert table.contour == ()


def test_labels_with_gaps_are_refused() -> None:
    with pytest.raises(ContractError, match="no pixel of label 1"):
        nucleus_table(np.array([[0, 2]]), np.full((6, 1, 2), 1 / 6))
