import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvit.data.annotations.pixels import Pixels, pixels_inside, pixels_of_mask

SHAPE = (9, 11)


def painted(pixels: Pixels, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    image = np.zeros(shape, int)
    pixels.paint(image, 1)
    return image


def test_a_square_with_whole_corners_has_the_pixels_between_them():
    pixels = pixels_inside(shapely.box(2, 3, 5, 7), SHAPE)

    expected = np.zeros(SHAPE, int)
    expected[3:7, 2:5] = 1
    assert painted(pixels).tolist() == expected.tolist()
    assert pixels.n == 12


def test_centres_on_the_left_and_upper_side_belong_to_it_and_those_on_the_others_do_not():
    pixels = pixels_inside(shapely.box(2.5, 3.5, 4.5, 5.5), SHAPE)

    expected = np.zeros(SHAPE, int)
    expected[3:5, 2:4] = 1
    assert painted(pixels).tolist() == expected.tolist()


def test_holes_are_empty():
    pixels = pixels_inside(shapely.box(1, 1, 8, 8) - shapely.box(3, 3, 5, 6), SHAPE)

    assert painted(pixels)[3:6, 3:5].sum() == 0
    assert pixels.n == 49 - 6


def test_what_lies_outside_the_image_is_left_out_on_all_sides():
    pixels = pixels_inside(shapely.box(-1e6, -1e6, 1e6, 1e6), SHAPE)

    assert painted(pixels).all()
    assert pixels.n == 99


coordinate = st.floats(-3, 14, allow_nan=False).map(lambda value: round(value, 3))
triangle = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=3)


@settings(max_examples=300)
@given(triangle)
def test_pixels_are_those_whose_centres_lie_inside(corners):
    polygon = shapely.Polygon(corners)

    image = painted(pixels_inside(polygon, SHAPE)).astype(bool)

    centres = shapely.points(*np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5))
    certain = shapely.distance(shapely.boundary(polygon), centres) > 1e-9
    assert (image == shapely.contains(polygon, centres))[certain].all()


half = st.integers(-2, 24).map(lambda value: value / 2)


@settings(max_examples=300)
@given(st.lists(st.tuples(half, half), min_size=4, max_size=4, unique=True))
def test_two_parts_of_a_polygon_share_no_pixel_and_leave_none_out(corners):
    whole = shapely.MultiPoint(corners).convex_hull
    if whole.geom_type != "Polygon":
        return
    points = list(whole.exterior.coords)[:-1]
    parts = [shapely.Polygon([points[0], points[at], points[at + 1]]) for at in range(1, len(points) - 1)]

    together = sum(painted(pixels_inside(part, SHAPE)) for part in parts)

    assert together.tolist() == painted(pixels_inside(whole, SHAPE)).tolist()


@settings(max_examples=100)
@given(st.lists(st.booleans(), min_size=99, max_size=99), st.integers(-4, 4), st.integers(-4, 4))
def test_pixels_of_a_mask_are_those_of_the_mask_moved_and_cut(bits, top, left):
    mask = np.array(bits).reshape(SHAPE)

    image = painted(pixels_of_mask(mask, SHAPE, top=top, left=left))

    wide = np.zeros((SHAPE[0] + 8, SHAPE[1] + 8), int)
    wide[4 + top : 4 + top + SHAPE[0], 4 + left : 4 + left + SHAPE[1]] = mask
    assert image.tolist() == wide[4:-4, 4:-4].tolist()


@pytest.mark.parametrize("polygon", [shapely.box(2, 3, 5, 7), shapely.box(0, 0, 11, 9)])
def test_pixels_of_an_outline_and_of_its_mask_are_equal(polygon):
    of_outline = pixels_inside(polygon, SHAPE)

    of_mask = pixels_of_mask(painted(of_outline).astype(bool), SHAPE)

    assert of_outline.key == of_mask.key


def test_the_centre_is_the_middle_pixel():
    pixels = pixels_inside(shapely.box(2, 3, 5, 6), SHAPE)

    assert divmod(pixels.centre(SHAPE[1]), SHAPE[1]) == (4, 3)
