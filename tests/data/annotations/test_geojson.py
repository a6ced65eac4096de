import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from cellvit.data.annotations.annotation import Annotation
from cellvit.data.annotations.geojson import read_geojson
from cellvit.data.annotations.options import Options, Place
from cellvit.errors import ContractError, MissingInputError

SHAPE = (40, 50)


def square(left, top, side=4):
    right, bottom = left + side, top + side
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry, classification=None, **more):
    properties = {"objectType": "annotation"} if classification is None else {"classification": classification}
    return {"type": "Feature", "geometry": geometry, "properties": properties | more.pop("properties", {}), **more}


def read(path: Path, document: object, **options: object) -> Annotation:
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return read_geojson(path, SHAPE, Options(**options), Place())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tile.geojson"


def test_collections_lists_and_single_features_are_read(path):
    one = feature(polygon(square(2, 3)), {"name": "Tumor", "colorRGB": -3670016})

    for document in ({"type": "FeatureCollection", "features": [one]}, [one], one):
        found = read(path, document)
        assert found.classes == ("Tumor",)
        assert (found.instances == 1).sum() == 16


def test_compressed_files_are_read(tmp_path):
    path = tmp_path / "tile.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps([feature(polygon(square(2, 3)))]).encode()))

    assert read_geojson(path, SHAPE, Options(), Place()).classes == ("",)


@pytest.mark.parametrize(
    ("classification", "name"),
    [
        (None, ""),
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor"),
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ({"colorRGB": -1}, ""),
        ("Tumor", "Tumor"),
        ('{"name": "Tumor"}', "Tumor"),
        ("{'name': 'Tumor'}", "Tumor"),
        ("{not an object", "{not an object"),
    ],
)
def test_the_class_is_that_of_the_classification(path, classification, name):
    assert read(path, feature(polygon(square(2, 3)), classification)).classes == (name,)


def test_the_nucleus_of_a_cell_is_read_and_a_missing_one_is_counted(path):
    cell = {"properties": {"objectType": "cell", "isMeasurement": True, "measurements": {"Area": 3}}}
    with_nucleus = feature(polygon(square(2, 3, 10)), nucleusGeometry=polygon(square(4, 5)), **cell)
    without = feature(polygon(square(20, 20)), **cell)

    found = read(path, [with_nucleus, without])

    assert np.bincount(found.instances.ravel())[1:].tolist() == [16, 16]
    assert found.counts == {"cells_without_nucleus": 1}


def test_holes_parts_and_collections_are_one_nucleus_and_what_has_no_area_is_left_out(path):
    geometry = {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "MultiPolygon", "coordinates": [[square(0, 0, 8), square(2, 2)], [square(20, 0)]]},
            {"type": "Point", "coordinates": [1, 1]},
            {"type": "LineString", "coordinates": [[1, 1], [2, 2]]},
        ],
    }

    found = read(path, [feature(geometry), feature({"type": "MultiPoint", "coordinates": [[1, 1]] * 7}), feature(None)])

    assert found.classes == ("",)
    assert (found.instances == 1).sum() == 64 - 16 + 16
    assert found.counts == {"points": 8, "lines": 1, "several_parts": 1, "holes": 1, "without_outline": 1}


def test_open_rings_are_closed_and_counted(path):
    found = read(path, feature(polygon(square(2, 3)[:-1])))

    assert (found.instances == 1).sum() == 16
    assert found.counts == {"closed": 1}


def test_tiles_and_tissue_cores_are_no_nuclei_but_may_be_regions(path):
    tile = feature(polygon(square(0, 0, 20)), {"name": "ROI"}, properties={"objectType": "tile"})
    nucleus = feature(polygon(square(2, 3)))

    assert read(path, [tile, nucleus]).counts == {"tiles": 1}
    as_region = read(path, [tile, nucleus], region_classes=("ROI",))
    assert as_region.counts == {"regions": 1}
    assert as_region.annotated.sum() == 400


def test_ignored_regions_are_not_annotated(path):
    found = read(path, [feature(polygon(square(0, 0, 10)), {"name": "Ignore*"}), feature(polygon(square(20, 20)))])

    assert found.classes == ("",)
    assert (~found.annotated).sum() == 100


def test_one_feature_for_each_class_holds_all_nuclei_of_the_class(path):
    def of_class(name, *corners):
        return feature(
            {"type": "MultiPolygon", "coordinates": [[square(*corner)] for corner in corners]}, {"name": name}
        )

    found = read(path, [of_class("Neoplastic", (0, 0), (10, 0), (20, 0)), of_class("Dead", (0, 10))])

    assert found.classes == ("Neoplastic",) * 3 + ("Dead",)
    assert found.counts == {"split": 4}


def test_a_feature_with_all_nuclei_of_a_class_is_refused_in_a_collection(path):
    parts = [[square(5 * at, 0)] for at in range(9)]
    many = feature({"type": "MultiPolygon", "coordinates": parts}, {"name": "Tumor"})

    with pytest.raises(ContractError, match=r"feature 0: .* found 9 polygons of class 'Tumor'. Fix: in QuPath"):
        read(path, {"type": "FeatureCollection", "features": [many]})
    as_region = read(path, {"type": "FeatureCollection", "features": [many]}, region_classes=("Tumor",))
    assert as_region.counts == {"regions": 1}


def test_coordinates_with_a_third_axis_are_read_without_it(path):
    ring = [[x, y, 7.0] for x, y in square(2, 3)]

    assert (read(path, feature(polygon(ring))).instances == 1).sum() == 16


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param("[" * 100_000, "expected JSON", id="brackets"),
        pytest.param('{"type": "FeatureCollection", "features": [{"type"', "expected JSON", id="truncated"),
        pytest.param("", "expected JSON", id="empty"),
        pytest.param({"type": "FeatureCollection"}, "a FeatureCollection, a list", id="no features"),
        pytest.param({"type": "FeatureCollection", "features": {}}, "a FeatureCollection, a list", id="no list"),
        pytest.param("17", "a FeatureCollection, a list", id="number"),
        pytest.param([17], "feature 0: expected a Feature", id="no feature"),
        pytest.param([{"properties": 3}], "feature 0: expected a Feature", id="no properties"),
        pytest.param([feature(17)], "feature 0: geometry", id="no geometry"),
        pytest.param([feature({"type": "Polygon"})], "feature 0: geometry", id="no coordinates"),
        pytest.param([feature({"type": "Circle", "coordinates": []})], "feature 0: geometry", id="circle"),
        pytest.param([feature(polygon(17))], "expected points", id="ring of a number"),
        pytest.param([feature(polygon([[1, 2], [3]]))], "expected points", id="ragged"),
        pytest.param([feature(polygon([[1, "2"], [3, 4], [5, 6]]))], "expected points", id="text"),
        pytest.param([feature(polygon([[1, None], [3, 4], [5, 6]]))], "expected points", id="null"),
        pytest.param([feature(polygon([[1, float("nan")], [3, 4], [5, 6]]))], "found nan", id="nan"),
        pytest.param([feature(polygon([[1, float("inf")], [3, 4], [5, 6]]))], "found inf", id="infinite"),
        pytest.param([feature(polygon([[1, 10**12], [3, 4], [5, 6]]))], "found 1e[+]12", id="large"),
        pytest.param([feature(polygon([[1, 10**40], [3, 4], [5, 6]]))], "expected points", id="huge"),
        pytest.param([feature({"type": "MultiPolygon", "coordinates": [1]})], "list of rings", id="part"),
        pytest.param([feature(polygon(square(0, 0)), {"name": 3})], "classification", id="class is a number"),
        pytest.param([feature(polygon(square(0, 0)), {"names": [3]})], "classification", id="names are numbers"),
        pytest.param([feature(polygon(square(0, 0)), [1])], "classification", id="class is a list"),
    ],
)
def test_files_that_are_no_outlines_are_refused_by_name(path, document, expected):
    with pytest.raises(ContractError, match=rf"tile\.geojson: .*{expected}.* Fix: ") as refused:
        read(path, document)

    assert len(str(refused.value)) < 600


def test_text_that_is_not_utf8_is_refused(path):
    path.write_bytes(b'{"type": "\xff\xfe"}')

    with pytest.raises(ContractError, match="expected JSON"):
        read_geojson(path, SHAPE, Options(), Place())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(bytes(2**26)), id="bomb"),
        pytest.param(gzip.compress(b"[]" * 1000)[:-9], id="truncated"),
        pytest.param(b"[]", id="not compressed"),
        pytest.param(gzip.compress(b"[]")[:-4] + b"\0\0\0\0", id="wrong length"),
        pytest.param(b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\xff" * 20, id="rubbish"),
    ],
)
def test_compressed_files_that_are_damaged_or_too_large_are_refused(tmp_path, content):
    path = tmp_path / "tile.geojson.gz"
    path.write_bytes(content)

    with pytest.raises(ContractError, match=r"tile\.geojson\.gz: .*Fix: "):
        read_geojson(path, SHAPE, Options(), Place())


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        read_geojson(tmp_path / "none.geojson", SHAPE, Options(), Place())
    with pytest.raises(ContractError, match="found a folder"):
        read_geojson(tmp_path, SHAPE, Options(), Place())
