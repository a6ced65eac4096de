"""Density maps, the overlay and the details."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from PIL import Image
from predicted import predicted, square_nuclei

from cellvit.data.slides.view import View
from cellvit.prediction.outlines import polygons
from cellvit.prediction.outputs.density import density_map, density_of
from cellvit.prediction.outputs.details import Details
from cellvit.prediction.outputs.drawing import wrapped
from cellvit.prediction.outputs.overlay import Overlay
from cellvit.prediction.outputs.survey import Survey, survey_of
from cellvit.prediction.result import PredictedImage

PINK = (230, 180, 210)
CORNER = shapely.box(3900, 1900, 4000, 2000)
"""An area with this part reaches over the whole image, which is shown then."""

YELLOW, CYAN, BLACK = (0xF0, 0xE4, 0x42), (0x35, 0xE0, 0xF0), (0, 0, 0)


def tissue(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), PINK, np.uint8)


def survey(image: PredictedImage) -> Survey:
    return survey_of(image.nuclei(), mpp=image.model_mpp)


def drawn(image: PredictedImage) -> Overlay:
    overlay = Overlay(image)
    for table in image.nuclei():
        scale = image.run.image.scale
        overlay.add(polygons(table, scale=scale), np.column_stack([table.x, table.y]) * scale, table.nucleus_class)
    return overlay


def count(picture: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == color).all(axis=2).sum())


def test_densities_are_nuclei_by_analysed_area() -> None:
    # 4000 x 2000 px of 0.25 um are 1 x 0.5 mm: ten by five cells; the right half is not analysed.
    places = np.array([[100, 100], [120, 140], [900, 1900], [1990, 100]])
    nuclei = square_nuclei(places, [1, 1, 2, 1])
    image = predicted([nuclei], tissue(4000, 2000), geometry=shapely.box(0, 0, 2000, 2000))

    density = density_of(survey(image), image)

    assert density.counts.shape == (5, 5, 10)
    assert density.cell_um == (100.0, 100.0)
    all_nuclei = density.per_mm2()
    assert all_nuclei[0, 0] == pytest.approx(2 / 0.01)
    assert all_nuclei[4, 2] == pytest.approx(1 / 0.01)
    assert np.isnan(all_nuclei[:, 5:]).all()
    assert not np.isnan(all_nuclei[:, :5]).any()
    assert density.per_mm2(1)[4, 2] == 0
    assert density.mm2.sum() == pytest.approx(image.run.area_mm2)


def test_cells_of_which_little_was_analysed_have_no_density() -> None:
    image = predicted([], tissue(4000, 2000), geometry=shapely.box(0, 0, 460, 1960) | CORNER)

    density = density_of(survey(image), image).per_mm2()

    assert np.isnan(density[:, 1]).all()  # 60 of its 400 px
    assert (density[:, 0] == 0).all()


def test_few_analysed_cells_are_no_map() -> None:
    areas = (shapely.box(0, 0, side, side) | CORNER for side in (2000, 700))
    whole, part = (predicted([], tissue(4000, 2000), geometry=area) for area in areas)

    assert density_of(survey(whole), whole).is_a_map
    assert not density_of(survey(part), part).is_a_map


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (40_000, 3)])
def test_images_of_any_shape_have_a_map(size: tuple[int, int]) -> None:
    image = predicted([], tissue(*size))

    found = density_map(density_of(survey(image), image), image, None)

    assert found.high == 0
    assert found.map.width <= 900
    assert found.map.height <= 900


def test_outlines_are_drawn_in_the_colour_of_the_class_with_a_dark_line_around() -> None:
    image = predicted([square_nuclei(np.array([[200, 200], [600, 600]]), [1, 2], side=40)], tissue(1200, 1200))

    picture = drawn(image).picture().image

    assert picture.size == (1200, 1200)
    assert count(picture, YELLOW) == 42 * 42 - 38 * 38  # 2 px along the sides of 40 px, half of them outside
    assert count(picture, CYAN) == count(picture, YELLOW)
    assert count(picture, BLACK) > 200
    assert picture.getpixel((200, 200)) == PINK


def test_pictures_of_a_small_area_show_its_surroundings_alone() -> None:
    nuclei = square_nuclei(np.array([[1500, 1600], [1540, 1600]]), [1, 3])
    area = shapely.box(1400, 1500, 1800, 1900)

    image = predicted([nuclei], tissue(4000, 4000), geometry=area)
    overlay, density = drawn(image), density_of(survey(image), image)

    picture = np.asarray(overlay.picture().image)
    rows, columns = np.nonzero((picture == YELLOW).all(axis=2))
    times = 1024 // 440  # of 440 px: the area and 20 px on each side
    assert picture.shape == (440 * times, 440 * times, 3)
    assert abs(columns.mean() / times + 1380 - 1500) < 2
    assert abs(rows.mean() / times + 1480 - 1600) < 2
    assert density.counts.sum() == 2
    assert density.mm2.sum() == pytest.approx(0.01, rel=0.1)  # of 400 px at 0.25 um
    (detail, *_) = Details(image, density).details
    assert detail.x <= 1500 < detail.x + detail.width
    assert detail.y <= 1600 < detail.y + detail.height


def test_on_a_slide_dots_of_all_classes_are_drawn_on_paler_tissue() -> None:
    nuclei = square_nuclei(np.array([[100, 100], [100, 140], [3000, 3000]]), [1, 2, 4])
    area = shapely.box(0, 0, 4000, 4000)
    view = View(tissue(400, 400), 10.0, (4000, 4000))
    image = replace(predicted([nuclei], tissue(400, 400), geometry=area), view=view)
    facts = image.run.image.model_copy(update={"width": 4000, "height": 4000})
    image = replace(image, run=image.run.model_copy(update={"image": facts}))

    overlay = drawn(image)
    picture = overlay.picture().image

    assert not overlay.draws_outlines
    assert all(count(picture, color) > 0 for color in (YELLOW, CYAN, BLACK))
    assert PINK not in {picture.getpixel(place) for place in ((0, 0), (400, 20))}  # paler below the dots


def test_unlike_tiles_are_striped() -> None:
    nuclei = square_nuclei(np.array([[900, 900]]), [1])
    plain = predicted([nuclei], tissue(1200, 1200))
    striped = predicted([nuclei], tissue(1200, 1200), n_unlike=3)

    pictures = [np.asarray(drawn(one).picture().image) for one in (plain, striped)]

    differs = (pictures[0] != pictures[1]).any(axis=2)
    assert 0.1 < differs[:400, :400].mean() < 0.3
    assert not differs[400:].any()
    assert not differs[:, 400:].any()


def test_the_border_of_the_area_is_drawn_where_it_is_not_the_whole_image() -> None:
    whole, part = (predicted([], tissue(1200, 1200), geometry=shapely.box(0, 0, right, 1200)) for right in (1200, 600))

    assert count(drawn(whole).picture().image, PINK) == 1200 * 1200
    assert count(drawn(part).picture().image, PINK) < 1200 * 1200


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3000, 2)])
def test_the_overlay_of_a_thin_image_has_room_for_its_legend(size: tuple[int, int]) -> None:
    picture = drawn(predicted([], tissue(*size))).picture()

    assert picture.sheet.width >= 900
    assert picture.sheet.height > picture.height + 80


def test_details_show_the_densest_place_and_each_class_once() -> None:
    dense = np.array([[x, y] for x in range(40, 200, 20) for y in range(40, 200, 20)])
    sparse = np.array([[3000 + 30 * i, 1500] for i in range(4)])
    nuclei = square_nuclei(np.concatenate([dense, sparse]), [1] * len(dense) + [2] * 4)
    image = predicted([nuclei], tissue(4000, 2000))
    details = Details(image, density_of(survey(image), image))
    for table in image.nuclei():
        details.add(polygons(table, scale=1.0), table.nucleus_class)

    found = {one.title: one for one in details.pictures()}

    assert list(found) == ["Most nuclei", "Most of class Inflammatory"]
    assert "64 Neoplastic" in found["Most nuclei"].caption
    assert (found["Most nuclei"].plain == PINK).all()
    outlined = Image.fromarray(found["Most of class Inflammatory"].outlined)
    assert count(outlined, CYAN) > 0
    assert count(outlined, YELLOW) == 0


def test_long_words_are_broken_inside() -> None:
    lines = wrapped("x" * 300 + " end", 200, 17)

    assert "".join(lines).replace(" ", "") == "x" * 300 + "end"
    assert len(lines) > 3
