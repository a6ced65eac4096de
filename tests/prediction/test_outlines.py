import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nuclei_fields import all_candidates, maps_of, merged, random_field

from cellvit.data.annotations.geojson import read_geojson
from cellvit.data.annotations.options import Options, Place
from cellvit.data.annotations.pixels import pixels_inside
from cellvit.hover.relabel import relabel
from cellvit.prediction.outlines import outlines_of, polygons, polygons_at, traced

label_maps = hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))


def geometries(labels: np.ndarray) -> np.ndarray:
    outlines = traced(labels, int(labels.max(initial=0)))
    return polygons_at(outlines, outlines.points / 2)


def painted(geometry: shapely.Geometry, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    pixels_inside(geometry, shape).paint(mask, True)
    return mask


def test_outline_of_a_pixel_is_a_diamond_and_of_a_square_has_its_corners_cut() -> None:
    assert traced(np.array([[1]], np.int32), 1).points.tolist() == [[1, 0], [2, 1], [1, 2], [0, 1]]
    square = traced(np.ones((2, 2), np.int32), 1, left=10, top=20).points - [20, 40]
    assert square.tolist() == [[1, 0], [3, 0], [4, 1], [4, 3], [3, 4], [1, 4], [0, 3], [0, 1]]


@given(label_maps)
def test_outlines_are_valid_and_enclose_the_centres_of_their_pixels_alone(labels: np.ndarray) -> None:
    labels = relabel(labels)

    found = geometries(labels)

    assert shapely.is_valid(found).all()
    for label, geometry in enumerate(found, start=1):
        assert np.array_equal(painted(geometry, labels.shape), labels == label)


@given(label_maps)
def test_outlines_of_one_map_do_not_overlap(labels: np.ndarray) -> None:
    found = geometries(relabel(labels))

    for number, geometry in enumerate(found):
        assert shapely.area(shapely.intersection(geometry, found[:number])).max(initial=0) == 0


@given(label_maps)
def test_polygons_and_back_are_the_same_areas(labels: np.ndarray) -> None:
    outlines = traced(relabel(labels), int(relabel(labels).max(initial=0)))
    found = polygons_at(outlines, outlines.points)

    again = outlines_of(found)

    assert shapely.equals(polygons_at(again, again.points), found).all()
    assert (np.diff(again.ring_nucleus) >= 0).all()


def test_pixels_that_share_a_corner_are_one_part_unless_two_nuclei_cross() -> None:
    alone = geometries(np.array([[0, 1], [1, 0]], np.int32))
    crossing = geometries(np.array([[2, 1], [1, 2]], np.int32))

    assert alone[0].geom_type == "Polygon"
    assert [one.geom_type for one in crossing] == ["MultiPolygon", "Polygon"]


def test_hole_follows_the_part_that_contains_it() -> None:
    ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    labels = np.zeros((9, 9), np.int32)
    labels[0, 0] = labels[8, 8] = 1
    labels[2:5, 2:5], labels[5:8, 0:3] = ring, 0
    labels[0:3, 6:9] = ring

    [geometry] = geometries(labels)

    assert geometry.is_valid
    assert sorted(len(part.interiors) for part in geometry.geoms) == [0, 0, 1, 1]


def test_labels_above_the_traced_ones_have_no_outline() -> None:
    outlines = traced(np.array([[1, 2, 0, 2]], np.int32), 1)

    assert outlines.ring_nucleus.tolist() == [0]


def test_no_nuclei_have_no_outlines() -> None:
    outlines = traced(np.zeros((4, 4), np.int32), 0)

    assert outlines.ring_starts.tolist() == [0]
    assert len(polygons_at(outlines, outlines.points)) == 0


@pytest.mark.parametrize("scale", [0.5, 1.0, 0.9871, 1.9843, 4.0, 0.3333])
def test_polygons_are_valid_after_rounding_at_every_scale(scale: float) -> None:
    nuclei = merged(all_candidates(*maps_of(random_field(300, 300, seed=1, spacing=14))))

    found = polygons(nuclei, scale=scale)

    points = shapely.get_coordinates(found)
    assert shapely.is_valid(found).all()
    assert np.array_equal(points, points.round(2))
    assert shapely.area(found).sum() == pytest.approx(nuclei.area_px.sum() * scale**2, rel=0.02)


def test_geojson_reader_gives_the_same_pixels_back(tmp_path: Path) -> None:
    labels = random_field(256, 256, seed=2)
    labels[100:110, 100:110] = labels.max() + 1
    labels[103:106, 103:106] = 0
    labels = relabel(labels)
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(one)),
            "properties": {"classification": {"name": "a"}},
        }
        for one in geometries(labels)
    ]
    path = tmp_path / "nuclei.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")

    annotation = read_geojson(path, labels.shape, Options(), Place())

    assert np.array_equal(annotation.instances, labels)
    assert set(annotation.counts) <= {"holes"}
