import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellvit.errors import ContractError
from cellvit.hover.relabel import TABLE_IDS, paint_channels, relabel


@pytest.mark.parametrize("offset", [0, TABLE_IDS], ids=["by_table", "by_sorting"])
@given(hnp.arrays(np.int64, (5, 6), elements=st.integers(0, 12)))
def test_relabelled_nuclei_have_the_same_pixels_and_order(offset: int, instances: np.ndarray) -> None:
    instances = np.where(instances > 3, instances + offset, instances)

    labels = relabel(instances)

    ids = np.unique(instances[instances > 0])
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, len(ids) + 1))
    for label, original in enumerate(ids, start=1):
        assert np.array_equal(labels == label, instances == original)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_relabel_accepts_every_integer_type(dtype: type) -> None:
    assert relabel(np.array([[0, 250], [3, 0]], dtype)).tolist() == [[0, 2], [1, 0]]


def test_empty_tile_stays_empty() -> None:
    painted = paint_channels(np.zeros((4, 4, 5)))

    assert not relabel(np.zeros((4, 4), np.int32)).any()
    assert not painted.instances.any()
    assert not painted.classes.any()
    assert (painted.overlap_px, painted.n_lost) == (0, 0)


@pytest.mark.parametrize(
    ("maps", "instances", "overlap_px", "n_lost"),
    [
        ({0: [[3, 3, 3], [0, 0, 0]], 4: [[0, 0, 8], [0, 8, 8]]}, [[1, 1, 2], [0, 2, 2]], 1, 0),
        ({1: [[4, 0, 0], [0, 0, 0]], 2: [[0, 0, 4], [0, 0, 0]]}, [[1, 0, 2], [0, 0, 0]], 0, 0),
        ({0: [[1, 0, 0], [0, 0, 2]], 3: [[9, 9, 0], [0, 0, 0]]}, [[2, 2, 0], [0, 0, 1]], 1, 1),
    ],
    ids=["later_channel_wins", "same_id_in_two_channels", "covered_completely"],
)
def test_pixels_and_nuclei_that_are_painted_over_are_counted(
    maps: dict[int, list[list[int]]], instances: list[list[int]], overlap_px: int, n_lost: int
) -> None:
    masks = np.zeros((2, 3, 5))
    for channel, values in maps.items():
        masks[..., channel] = values

    painted = paint_channels(masks)

    assert painted.instances.tolist() == instances
    assert (painted.overlap_px, painted.n_lost) == (overlap_px, n_lost)


@given(hnp.arrays(np.float64, (4, 5, 5), elements=st.integers(0, 3)))
def test_painting_equals_painting_one_channel_after_the_other(masks: np.ndarray) -> None:
    painted = paint_channels(masks)

    ids, classes = np.zeros((4, 5)), np.zeros((4, 5))
    for channel in range(5):
        inside = masks[..., channel] > 0
        ids[inside] = masks[..., channel][inside] + 1000 * channel
        classes[inside] = channel + 1
    assert np.array_equal(painted.instances, relabel(ids.astype(np.int64)))
    assert np.array_equal(painted.classes, classes)


@pytest.mark.parametrize("wrong", [0.5, -1.0, np.nan, np.inf])
def test_value_that_is_not_an_id_is_refused_with_its_position(wrong: float) -> None:
    masks = np.zeros((4, 4, 5))
    masks[1, 2, 3] = wrong

    with pytest.raises(ContractError, match=re.escape(f"found {wrong} at (row, column, channel) (1, 2, 3)")):
        paint_channels(masks)


def test_background_channel_is_refused_with_the_fix() -> None:
    with pytest.raises(ContractError, match=r"Take channels 0 to 4 of masks\.npy: channel 5 is background"):
        paint_channels(np.zeros((4, 4, 6)))
