"""Which part of a slide is analysed: the whole, a rectangle, or regions that somebody drew."""

import gzip
import json

import numpy as np
import pytest
import shapely
from slides import write_pyramid

from cellvit.data.slides.area import Area, region, regions_of, whole, write_area
from cellvit.errors import ContractError, MissingInputError, SettingsError


@pytest.fixture
def slide(tmp_path, opened, picture):
    """900 x 700 px."""
    return opened(write_pyramid(tmp_path / "a.tif", picture, 0.25))


def square(x, y, side):
    return [[[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]]


def write_features(path, *geometries, **properties):
    features = [
        {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **properties}}
        for geometry in geometries
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def test_the_whole_slide_has_its_size(slide):
    area = whole(slide)

    assert area.geometry.bounds == (0, 0, 900, 700)
    assert area.area_mm2(0.25) == pytest.approx(900 * 700 * 0.0625 / 1e6)


def test_boxes_meet_an_area_where_they_share_more_than_a_border():
    area = Area(shapely.box(10, 10, 20, 20), "")

    meets = area.meets(
        np.array([[0, 0, 10, 10], [0, 0, 10.5, 10.5], [20, 10, 30, 20], [12, 12, 13, 13], [0, 0, 99, 99]], float)
    )

    assert meets.tolist() == [False, True, False, True, True]


def test_points_on_the_border_belong_to_the_area():
    area = Area(shapely.box(10, 10, 20, 20), "")

    assert area.contains(np.array([10.0, 15, 20, 20.1]), np.array([10.0, 15, 20, 15])).tolist() == [
        True,
        True,
        True,
        False,
    ]


def test_an_empty_area_contains_and_meets_nothing():
    area = Area(shapely.MultiPolygon(), "none")

    assert not area.meets(np.array([[0.0, 0, 10, 10]])).any()
    assert not area.contains(np.array([1.0]), np.array([1.0])).any()
    assert area.area_mm2(0.25) == 0
    assert area.meets(np.zeros((0, 4))).shape == (0,)


def test_a_rectangle_is_cut_at_the_border_and_says_so(slide):
    inside, cut = region(slide, "100,50,300,200"), region(slide, " 800, 600,500,500")

    assert inside.geometry.bounds == (100, 50, 400, 250)
    assert "cut" not in inside.how
    assert cut.geometry.bounds == (800, 600, 900, 700)
    assert "cut at the border" in cut.how


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,x", "0,0,0,5", "0,0,5,-1", "900,0,10,10", "-20,0,20,20", "1.5,0,2,2"]
)
def test_other_rectangles_are_refused_with_an_example(slide, text):
    with pytest.raises(SettingsError, match=r"--region: expected .*, found .*Fix: --region X,Y,WIDTH,HEIGHT"):
        region(slide, text)


def test_regions_of_a_file_are_joined_and_cut(tmp_path, slide):
    path = write_features(
        tmp_path / "regions.geojson",
        polygon(*square(0, 0, 100)),
        polygon(*square(50, 0, 100)),
        {"type": "MultiPolygon", "coordinates": [square(300, 300, 10), square(850, 650, 100)]},
        {"type": "GeometryCollection", "geometries": [polygon(*square(400, 0, 100), *square(440, 40, 20))]},
        {"type": "Point", "coordinates": [5, 5]},
    )

    area = regions_of(path, slide)

    assert area.geometry.area == 150 * 100 + 100 + 50 * 50 + 100 * 100 - 20 * 20
    assert area.how == "4 regions of regions.geojson, cut at the border of the image"
    assert area.contains(np.array([450.0, 410.0]), np.array([50.0, 10.0])).tolist() == [False, True]


def test_regions_that_cross_themselves_are_repaired(tmp_path, slide):
    bow = polygon([[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]])

    area = regions_of(write_features(tmp_path / "a.geojson", bow), slide)

    assert shapely.is_valid(area.geometry)
    assert area.geometry.area == pytest.approx(5000)


def test_single_features_lists_and_compressed_files_are_read(tmp_path, slide):
    feature = {"type": "Feature", "geometry": polygon(*square(0, 0, 10)), "properties": None}
    (tmp_path / "one.json").write_text(json.dumps(feature))
    (tmp_path / "list.json.gz").write_bytes(gzip.compress(json.dumps([feature]).encode()))

    assert regions_of(tmp_path / "one.json", slide).geometry.area == 100
    assert regions_of(tmp_path / "list.json.gz", slide).geometry.area == 100


def test_regions_outside_of_the_slide_are_refused(tmp_path, slide):
    path = write_features(tmp_path / "a.geojson", polygon(*square(0, 0, 10)), polygon(*square(5000, 0, 100)))

    with pytest.raises(ContractError, match=r"feature 1: .* has 900 x 700 px, found x 5000 to 5100, y 0 to 100"):
        regions_of(path, slide)


@pytest.mark.parametrize(
    "geometry",
    [
        pytest.param([], id="nothing"),
        pytest.param([{"type": "Point", "coordinates": [5, 5]}], id="point"),
        pytest.param([{"type": "LineString", "coordinates": [[5, 5], [9, 9]]}], id="line"),
        pytest.param([polygon([[1, 1], [5, 5], [1, 1]])], id="no_area"),
        pytest.param([None], id="no_geometry"),
    ],
)
def test_a_file_without_regions_is_refused(tmp_path, slide, geometry):
    with pytest.raises(ContractError, match=r"expected polygons, .* found none\. Fix: draw the regions in QuPath"):
        regions_of(write_features(tmp_path / "a.geojson", *geometry), slide)


def test_detections_are_no_regions(tmp_path, slide):
    path = write_features(tmp_path / "a.geojson", polygon(*square(0, 0, 10)), objectType="detection")

    with pytest.raises(ContractError, match="found none"):
        regions_of(path, slide)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"type": "Feature", "geometry": [1]}', '{"type": "Topology"}'])
def test_other_files_are_refused_by_name(tmp_path, slide, content):
    (tmp_path / "a.geojson").write_text(content)

    with pytest.raises(ContractError, match=r"a\.geojson: .*expected"):
        regions_of(tmp_path / "a.geojson", slide)
    with pytest.raises(MissingInputError, match=r"none\.geojson.*Fix"):
        regions_of(tmp_path / "none.geojson", slide)


def test_an_area_is_written_and_read_back(tmp_path, slide):
    drawn = shapely.MultiPolygon(
        [shapely.box(0, 0, 100.129, 50), shapely.Polygon(square(300, 300, 90)[0], square(320, 320, 20))]
    )
    path = tmp_path / "area.geojson"

    write_area(path, Area(drawn, "by hand"))
    document, read = json.loads(path.read_text()), regions_of(path, slide)

    assert document["type"] == "FeatureCollection"
    assert [feature["properties"]["objectType"] for feature in document["features"]] == ["annotation"] * 2
    assert read.geometry.area == pytest.approx(100.13 * 50 + 90 * 90 - 20 * 20)


def test_an_empty_area_is_written_as_no_annotation(tmp_path):
    write_area(tmp_path / "area.geojson", Area(shapely.MultiPolygon(), "tissue: none was found"))

    assert json.loads((tmp_path / "area.geojson").read_text()) == {"type": "FeatureCollection", "features": []}
