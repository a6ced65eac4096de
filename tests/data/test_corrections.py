"""Corrected predictions of a slide as annotated images: what is read, which pixels are cut, and where the nuclei are."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from own_folders import tissue
from slides import write_pyramid

from cellvit.data.annotations.options import Options
from cellvit.data.annotations.read import read_annotation
from cellvit.data.corrections import check_classes, cut_regions, read_corrections
from cellvit.data.resampling import needs_resampling
from cellvit.data.simulate.organs import PROFILES
from cellvit.data.simulate.tile import simulate_image
from cellvit.data.slides.model_pixels import ModelPixels
from cellvit.data.slides.opening import open_slide
from cellvit.errors import ContractError
from cellvit.hover.relabel import relabel
from cellvit.prediction.outlines import polygons_at, traced

DISKS = ((60, 60, 12, "Glia"), (100, 70, 9, "Neuron"), (152, 100, 10, "Glia"), (180, 180, 8, "Neuron"))
COLORS = {"Glia": "#35e0f0", "Neuron": "#f0e442"}


def detection(geometry: shapely.Geometry, name: str = "", kind: str = "detection") -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": kind}
    if name:
        properties["classification"] = {"name": name, "color": [0, 0, 0]}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


def rectangle(x: float, y: float, width: float, height: float, name: str = "Checked") -> dict[str, Any]:
    return detection(shapely.box(x, y, x + width, y + height), name, "annotation")


def disks() -> list[dict[str, Any]]:
    return [detection(shapely.Point(x + 0.5, y + 0.5).buffer(radius), name) for x, y, radius, name in DISKS]


def written(path: Path, features: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def pixels(tmp_path: Path) -> np.ndarray:
    return tissue(DISKS, 256)


@pytest.fixture
def slide(tmp_path: Path, pixels: np.ndarray) -> Path:
    return write_pyramid(tmp_path / "slide.tif", pixels, 0.25)


def cut(slide: Path, corrected: Path, *, model_mpp: float = 0.25, checked: str = "Checked") -> list[Any]:
    with closing(open_slide(slide)) as opened:
        return list(cut_regions(read_corrections(corrected, checked), ModelPixels(opened, model_mpp), COLORS))


def read_back(tmp_path: Path, region: Any) -> Any:
    path = tmp_path / "cut.geojson"
    path.write_text(json.dumps(region.annotation))
    return read_annotation(path, region.pixels.shape[:2], "geojson", Options(region_classes=("Checked",)))


def test_a_rectangle_is_cut_out_pixel_by_pixel_with_its_nuclei_in_its_own_coordinates(tmp_path, slide, pixels):
    corrected = written(tmp_path / "c.geojson", [*disks(), rectangle(40, 30, 100, 80)])

    [region] = cut(slide, corrected)
    found = read_back(tmp_path, region)

    np.testing.assert_array_equal(region.pixels, pixels[30:110, 40:140])
    assert (region.x, region.y) == (40, 30)
    assert found.classes == ("Glia", "Neuron")
    assert found.annotated.all()
    whole = read_annotation(written(tmp_path / "w.geojson", disks()), (256, 256), "geojson")
    np.testing.assert_array_equal(found.instances > 0, whole.instances[30:110, 40:140] > 0)


def test_a_nucleus_that_the_border_cuts_keeps_its_class_and_its_pixels_inside(tmp_path, slide):
    corrected = written(tmp_path / "c.geojson", [*disks(), rectangle(90, 50, 64, 100)])

    [region] = cut(slide, corrected)
    found = read_back(tmp_path, region)

    assert found.classes == ("Neuron", "Glia")
    assert found.counts["cut_by_border"] == 1
    assert region.n_by_class == {"Neuron": 1, "Glia": 1}


def test_a_deleted_nucleus_is_background_and_a_drawn_one_is_a_nucleus(tmp_path, slide):
    drawn = detection(shapely.box(60, 90, 80, 104), "Glia", "annotation")
    corrected = written(tmp_path / "c.geojson", [*disks()[1:], drawn, rectangle(40, 30, 100, 80)])

    [region] = cut(slide, corrected)
    found = read_back(tmp_path, region)

    assert found.classes == ("Neuron", "Glia")
    assert not found.instances[20:40, 10:30].any()
    assert (found.instances[60:74, 20:40] == 2).all()


def test_a_region_of_any_shape_counts_inside_alone(tmp_path, slide):
    corner = detection(shapely.Polygon([(40, 30), (140, 30), (40, 130)]), "checked", "annotation")
    corrected = written(tmp_path / "c.geojson", [*disks(), corner])

    [region] = cut(slide, corrected)
    found = read_back(tmp_path, region)

    assert region.pixels.shape[:2] == (100, 100)
    assert 0.4 < found.annotated.mean() < 0.6
    assert found.classes == ("Glia",)


def test_regions_that_overlap_are_one_and_others_are_images_of_their_own(tmp_path, slide):
    boxes = [rectangle(20, 120, 70, 70), rectangle(0, 0, 90, 90), rectangle(60, 20, 90, 80)]
    corrected = written(tmp_path / "c.geojson", [*disks(), *boxes])

    regions = cut(slide, corrected)

    assert [(one.x, one.y, one.pixels.shape[:2]) for one in regions] == [(0, 0, (100, 150)), (20, 120, (70, 70))]


def test_images_are_cut_at_the_resolution_of_the_model(tmp_path, pixels):
    slide = write_pyramid(tmp_path / "fine.tif", np.repeat(np.repeat(pixels, 2, 0), 2, 1), 0.125)
    twice = [
        detection(shapely.affinity.scale(shapely.geometry.shape(one["geometry"]), 2, 2, origin=(0, 0)), "Glia")
        for one in disks()
    ]
    corrected = written(tmp_path / "c.geojson", [*twice, rectangle(80, 60, 200, 160)])

    [region] = cut(slide, corrected)
    found = read_back(tmp_path, region)

    whole = read_annotation(written(tmp_path / "w.geojson", disks()), (256, 256), "geojson")
    assert region.pixels.shape[:2] == (80, 100)
    assert (region.x, region.y) == (80, 60)
    np.testing.assert_array_equal(found.instances > 0, whole.instances[30:110, 40:140] > 0)


@pytest.mark.parametrize("mpp", [0.25, 0.252, 0.2527, 0.1725, 0.5])
def test_predicted_nuclei_that_nobody_changed_come_back_as_exactly_their_masks(tmp_path, mpp):
    rng = np.random.default_rng(0)
    image, labels = simulate_image(PROFILES["Colon"], 300, rng)
    masks = relabel(labels.max(axis=0))
    scale = 0.25 / mpp if needs_resampling(mpp, 0.25) else 1.0
    side = round(300 * scale)
    slide = write_pyramid(tmp_path / "slide.tif", cv2.resize(image, (side, side)), mpp)
    outlines = traced(masks, int(masks.max()))
    geometries = polygons_at(outlines, np.round(outlines.points * (scale / 2), 2))
    predicted = [detection(one, ("Glia", "Neuron")[number % 2]) for number, one in enumerate(geometries)]
    corrected = written(
        tmp_path / "c.geojson", [*predicted, rectangle(40 * scale, 20 * scale, 200 * scale, 170 * scale)]
    )

    [region] = cut(slide, corrected)
    found = read_back(tmp_path, region)

    expected = masks[20:190, 40:240]
    here = np.unique(expected[expected > 0])
    assert region.pixels.shape[:2] == (170, 200)
    assert found.classes == tuple(("Glia", "Neuron")[number % 2] for number in here - 1)
    np.testing.assert_array_equal(found.instances, np.searchsorted(here, expected, side="right") * (expected > 0))


def test_ignored_regions_count_nowhere_and_other_regions_are_left_out(tmp_path, slide):
    others = [
        rectangle(90, 60, 30, 30, "Ignore*"),
        rectangle(0, 0, 256, 256, "Region*"),
        rectangle(0, 0, 200, 256, "Analysed area"),
    ]
    corrected = written(tmp_path / "c.geojson", [*disks(), *others, rectangle(40, 30, 100, 80)])

    [region] = cut(slide, corrected)
    found = read_back(tmp_path, region)

    assert read_corrections(corrected, "Checked").counts == {"other_regions": 2}
    assert found.classes == ("Glia",)
    assert not found.annotated[31:59, 51:79].any()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (disks(), "around each region that was corrected as a whole, found 2 of Glia, 2 of Neuron"),
        ([], "found no outlines"),
        (
            [rectangle(40, 30, 100, 50)],
            "at x=40, y=30 must have at least 64 px of the model on each side, found 100 x 50",
        ),
        ([rectangle(300, 30, 100, 90)], "lies outside of the slide"),
    ],
)
def test_regions_that_cannot_be_images_are_refused(tmp_path, slide, features, said):
    with pytest.raises(ContractError, match=said):
        cut(slide, written(tmp_path / "c.geojson", features))


def test_nuclei_without_a_known_class_are_refused_with_their_places_if_they_are_in_a_region(tmp_path):
    unnamed, unknown = detection(shapely.box(60, 60, 70, 70)), detection(shapely.box(80, 60, 90, 70), "Mitosis")
    outside = detection(shapely.box(200, 200, 210, 210))
    corrections = read_corrections(
        written(tmp_path / "c.geojson", [*disks(), unnamed, unknown, outside, rectangle(40, 30, 100, 80)]), "Checked"
    )

    with pytest.raises(ContractError) as error:
        check_classes(corrections, ("Glia", "Neuron"))

    assert "found 2 others:\n  no class, at x=65, y=65\n  Mitosis, at x=85, y=65\nFix: " in str(error.value)
    assert "--new-class NAME" in str(error.value)
