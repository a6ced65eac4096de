"""Whatever a file holds, a reader gives an annotation or says by name what is wrong with the file."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvit.data.annotations.coco import read_coco
from cellvit.data.annotations.geojson import read_geojson
from cellvit.data.annotations.imagescope import read_imagescope
from cellvit.data.annotations.options import Options, Place
from cellvit.errors import ContractError

SQUARE = [[2, 1], [5, 1], [5, 4], [2, 4], [2, 1]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE, [[3, 2], [4, 2], [4, 3], [3, 2]]]}
CELL = {
    "type": "Feature",
    "id": "a",
    "geometry": {"type": "GeometryCollection", "geometries": [POLYGON]},
    "nucleusGeometry": {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
    "properties": {"objectType": "cell", "classification": {"name": "Tumor", "names": ["Tumor"]}},
}
GEOJSON = {"type": "FeatureCollection", "features": [CELL, {**CELL, "geometry": POLYGON, "nucleusGeometry": None}]}
RUNS = {"size": [6, 8], "counts": [9, 3, 36]}
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
    "categories": [{"id": 7, "name": "Tumor"}],
    "annotations": [
        {"image_id": 1, "category_id": 7, "segmentation": [[2, 1, 5, 1, 5, 4]], "iscrowd": 0, "score": 1.0},
        {"image_id": 1, "category_id": 7, "segmentation": RUNS, "iscrowd": 1},
    ],
}
RESULTS = [{"image_id": 1, "category_id": 7, "segmentation": RUNS, "score": 0.5}]
PREDICTIONS = {"labels": [1], "scores": [0.5], "masks": [RUNS]}
XML = (
    '<?xml version="1.0" encoding="utf-8"?><Annotations><Annotation Id="1" Name="Tumor"><Attributes><Attribute Name="a" '
    'Value="b"/></Attributes><Regions><Region Id="1" Type="0"><Vertices><Vertex X="2" Y="1"/><Vertex X="5" Y="1"/>'
    '<Vertex X="5" Y="4"/></Vertices></Region></Regions></Annotation></Annotations>'
)

NUMBERS = [0, -1, 3, 1e12, -1e308, 1e-320, 10**12, 10**40, float("nan"), float("inf"), True]
TEXTS = ["", "text", "é\ud800", "Polygon", "Point", "MultiPoint", "LineString"]
CONTAINERS = [[], {}, [[]], [None], {"type": "Polygon"}, [SQUARE], [[[SQUARE]]]]
odd = st.sampled_from([None, *NUMBERS, *TEXTS, *CONTAINERS])


def places(node, path=()):
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def changed(document, place, value, *, remove):
    if not place:
        return value
    document = copy.deepcopy(document)
    node = document
    for key in place[:-1]:
        node = node[key]
    if remove:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return document


def result(read, path: Path, content: bytes) -> str:
    """The path if the file could be read, else the message."""
    path.write_bytes(content)
    try:
        read(path, (6, 8), Options(), Place())
    except ContractError as error:
        return str(error)
    return str(path)


often = settings(max_examples=400, suppress_health_check=list(HealthCheck))


def test_a_message_quotes_the_beginning_of_a_document_only(tmp_path):
    said = result(read_geojson, tmp_path / "a.json", json.dumps({**GEOJSON, "type": 10**40}).encode())

    assert "expected a FeatureCollection, a list of features or one Feature, found {'features': [{" in said
    assert said.endswith("in QuPath by File > Export objects as GeoJSON.")
    assert len(said) < len(str(tmp_path)) + 500


@pytest.mark.parametrize(
    ("read", "document"),
    [
        pytest.param(read_geojson, GEOJSON, id="geojson"),
        pytest.param(read_geojson, [CELL], id="list of features"),
        pytest.param(read_coco, COCO, id="coco"),
        pytest.param(read_coco, RESULTS, id="results"),
        pytest.param(read_coco, PREDICTIONS, id="predictions"),
    ],
)
@often
@given(data=st.data())
def test_documents_with_an_odd_value_are_read_or_refused(read, document, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    place = data.draw(st.sampled_from(list(places(document))))
    hostile = changed(document, place, data.draw(odd), remove=data.draw(st.booleans()))

    said = result(read, path, json.dumps(hostile).encode())

    assert said.startswith(str(path))
    assert len(said) < 800


@pytest.mark.parametrize(
    ("read", "content"),
    [
        pytest.param(read_geojson, json.dumps(GEOJSON).encode(), id="geojson"),
        pytest.param(read_coco, json.dumps(COCO).encode(), id="coco"),
        pytest.param(read_imagescope, XML.encode(), id="imagescope"),
    ],
)
@often
@given(at=st.integers(0, 1000), change=st.binary(max_size=4), cut=st.booleans())
def test_damaged_files_are_read_or_refused(read, content, tmp_path_factory, at, change, cut):
    path = tmp_path_factory.getbasetemp() / "hostile"
    at %= len(content)
    rest = b"" if cut else content[at + len(change) :]

    said = result(read, path, content[:at] + change + rest)

    assert said.startswith(str(path))
