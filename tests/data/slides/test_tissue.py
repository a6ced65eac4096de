"""Tissue is found by its colour; glass, specks and pen marks are not."""

import numpy as np
import pytest
import shapely
from slides import write_pyramid, write_sparse_slide

from cellvit.data.slides.tissue import polygons_of, tissue_mask, tissue_of

PINK, PALE, GLASS = (205, 130, 180), (235, 210, 226), (244, 242, 245)


def painted(*places, side=1000, glass=GLASS):
    """Glass with coloured rectangles (left, top, right, bottom, colour), with the noise of a camera."""
    image = np.full((side, side, 3), glass, float)
    for left, top, right, bottom, colour in places:
        image[top:bottom, left:right] = colour
    return np.clip(image + np.random.default_rng(0).normal(0, 2, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [PINK, PALE, (120, 80, 160), (190, 70, 80)])
@pytest.mark.parametrize("glass", [GLASS, (238, 230, 222), (215, 214, 220)])
def test_tissue_of_any_stain_is_found_on_glass_of_any_tint(colour, glass):
    darker = tuple(round(value * white / 245) for value, white in zip(colour, glass, strict=True))

    mask, _ = tissue_mask(painted((300, 200, 700, 800, darker), glass=glass), 8.0)

    assert mask[205:795, 305:695].all()
    assert not mask[:190].any()
    assert not mask[:, 710:].any()


@pytest.mark.parametrize("colour", [PINK, PALE, (120, 80, 160)])
@pytest.mark.parametrize("pixel_um", [0.25, 2.0, 8.0])
def test_an_image_full_of_tissue_is_all_tissue(colour, pixel_um):
    mask, _ = tissue_mask(painted((0, 0, 300, 300, colour), side=300), pixel_um)

    assert mask.all()


@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (238, 230, 222), (128, 128, 128), (0, 0, 0)])
def test_an_image_of_glass_has_no_tissue(glass):
    mask, _ = tissue_mask(painted(side=400, glass=glass), 8.0)

    assert not mask.any()


def test_pale_and_dark_tissue_are_both_found():
    mask, _ = tissue_mask(painted((100, 100, 400, 400, (110, 40, 130)), (600, 600, 900, 900, PALE)), 8.0)

    assert mask[110:390, 110:390].all()
    assert mask[610:890, 610:890].all()


def test_specks_are_left_out_and_small_holes_are_filled():
    image = painted(
        (200, 200, 800, 800, PINK), (30, 30, 38, 38, PINK), (400, 400, 415, 415, GLASS), (500, 500, 700, 700, GLASS)
    )

    mask, _ = tissue_mask(image, 8.0)

    assert not mask[:100].any()
    assert mask[400:415, 400:415].all()
    assert not mask[520:680, 520:680].any()


@pytest.mark.parametrize(
    "pen", [(20, 120, 60), (30, 60, 170), (40, 40, 150), (200, 30, 40), (25, 25, 30), (10, 110, 130)]
)
def test_pen_marks_are_not_tissue(pen):
    mask, _ = tissue_mask(painted((100, 100, 900, 200, pen), (100, 500, 900, 900, PINK)), 8.0)

    assert not mask[100:200].any()
    assert mask[505:895, 105:895].all()


def test_outlines_follow_the_edges_of_the_pixels():
    mask = np.zeros((20, 30), bool)
    mask[2:12, 3:23] = True
    mask[5:8, 6:10] = False
    mask[19, 29] = True

    area = polygons_of(mask, 10.0, 4.0)

    assert shapely.is_valid(area)
    assert area.area == pytest.approx((10 * 20 - 3 * 4 + 1) * 40, rel=0.02)
    assert area.bounds == (30, 8, 300, 80)


def test_a_slide_gives_its_tissue_in_px_of_the_full_resolution(tmp_path, opened):
    image = np.repeat(np.repeat(painted((100, 50, 300, 250, PINK), side=500), 4, axis=0), 4, axis=1)

    area = tissue_of(opened(write_pyramid(tmp_path / "a.tif", image, 0.5, n_levels=4)))

    assert shapely.is_valid(area.geometry)
    assert area.geometry.bounds == pytest.approx((400, 200, 1200, 1000), abs=80)
    assert area.geometry.area == pytest.approx(880**2, rel=0.05)  # with the margin of 16 um, and the blur
    assert "% of the image" in area.how


def test_a_slide_without_tissue_gives_an_empty_area(tmp_path, opened):
    area = tissue_of(opened(write_pyramid(tmp_path / "a.tif", painted(), 0.25)))

    assert area.geometry.is_empty
    assert area.how == "tissue: none was found"


def test_a_tile_of_tissue_is_analysed_as_a_whole(tmp_path, opened):
    slide = opened(write_pyramid(tmp_path / "a.tif", painted((0, 0, 256, 256, PINK), side=256), 0.25))

    assert tissue_of(slide).geometry.equals(shapely.box(0, 0, 256, 256))


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1)])
@pytest.mark.parametrize("mpp", [0.25, None])
def test_images_of_one_px_have_tissue_or_not(tmp_path, opened, size, mpp):
    image = np.full((*size, 3), PINK, np.uint8)

    area = tissue_of(opened(write_pyramid(tmp_path / "a.tif", image, mpp, n_levels=1)))

    assert area.geometry.area == pytest.approx(size[0] * size[1])


@pytest.mark.parametrize("missing", [False, True])
def test_the_tissue_of_a_huge_sparse_slide_is_found_in_seconds(tmp_path, opened, missing):
    patch = np.full((2000, 2000, 3), PINK, np.uint8)
    path = write_sparse_slide(
        tmp_path / "a.tif", 100_000, [(60_000, 20_000, patch), (10_000, 90_000, patch)], missing=missing
    )

    area = tissue_of(opened(path))

    parts = sorted(shapely.get_parts(area.geometry), key=lambda part: part.bounds)
    assert len(parts) == 2
    assert parts[0].bounds == pytest.approx((10_000, 90_000, 12_000, 92_000), abs=200)
    assert parts[1].bounds == pytest.approx((60_000, 20_000, 62_000, 22_000), abs=200)
