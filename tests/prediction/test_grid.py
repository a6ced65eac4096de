import numpy as np
import pytest

from cellvit.prediction.grid import RAMP_PX, needed, tile_grid
from cellvit.taxonomy import TILE_PX

sizes = pytest.mark.parametrize("side_px", [1, 200, 256, 257, 300, 384, 600, 1000, 1024])
overlaps = pytest.mark.parametrize("overlap_px", [32, 64, 128, 192])


@sizes
@overlaps
def test_tiles_cover_a_side_and_the_last_one_ends_at_its_border(side_px: int, overlap_px: int) -> None:
    starts = tile_grid(side_px, 256, overlap_px=overlap_px).columns.starts

    assert starts[0] == 0
    assert starts[-1] == max(side_px - TILE_PX, 0)
    assert all(0 < step <= TILE_PX - overlap_px for step in np.diff(starts))


@sizes
@overlaps
def test_cores_are_disjoint_cover_the_side_and_lie_in_their_tiles(side_px: int, overlap_px: int) -> None:
    axis = tile_grid(side_px, 256, overlap_px=overlap_px).columns

    covered = np.zeros(side_px, int)
    for number, start in enumerate(axis.starts):
        low, high = axis.core(number)
        covered[low:high] += 1
        assert start <= low < high <= start + TILE_PX

    assert (covered == 1).all()


@sizes
@overlaps
def test_shares_of_the_tiles_add_up_to_one_at_each_pixel(side_px: int, overlap_px: int) -> None:
    axis = tile_grid(side_px, 256, overlap_px=overlap_px).columns

    total = np.zeros(max(side_px, TILE_PX))
    for number, start in enumerate(axis.starts):
        total[start : start + TILE_PX] += axis.weights(number)

    assert total == pytest.approx(np.ones_like(total), abs=1e-6)


def test_tile_alone_has_its_maps_exactly() -> None:
    assert (tile_grid(256, 200).columns.weights(0) == 1).all()
    assert (tile_grid(256, 200).rows.weights(0) == 1).all()


@overlaps
def test_blended_tiles_are_those_with_a_share_in_the_window(overlap_px: int) -> None:
    axis = tile_grid(1000, 256, overlap_px=overlap_px).columns

    for number, start in enumerate(axis.starts):
        with_share = [
            other
            for other, first in enumerate(axis.starts)
            if (
                axis.weights(other)[max(start - first, 0) : start - first + TILE_PX if start < first else None] > 0
            ).any()
            and abs(first - start) < TILE_PX
        ]
        assert set(with_share) <= set(axis.blended(number))


def test_needed_tiles_are_those_around_the_active_ones() -> None:
    grid = tile_grid(1024, 1024)
    active = np.zeros(grid.shape, bool)
    active[3, 3] = True

    found = needed(grid, active)

    assert found[3, 3]
    assert [tuple(place) for place in np.argwhere(found)] == [
        (row, column) for row in grid.rows.blended(3) for column in grid.columns.blended(3)
    ]


def test_grid_moved_by_half_a_tile_is_the_same_grid() -> None:
    starts = tile_grid(1024, 256).columns.starts
    moved = tile_grid(1024 - 128, 256).columns.starts

    assert [start - 128 for start in starts[1:]] == list(moved)


def test_core_boxes_are_the_cores_of_both_axes() -> None:
    grid = tile_grid(600, 300)

    assert grid.core_boxes.shape == (2, 4, 4)
    assert grid.core_boxes[1, 2].tolist() == [320, grid.rows.seams[0], 428, 300]
    assert RAMP_PX * 2 <= 32
