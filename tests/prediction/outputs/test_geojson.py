"""nuclei.geojson: what QuPath, shapely and this project's own reader find in it."""

import gzip
import json
import tracemalloc
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from predicted import predicted, square_nuclei

from cellvit.data.annotations.options import Options
from cellvit.data.annotations.read import kind_of, read_annotation
from cellvit.formats.dataset import DataSet, NuclearClass
from cellvit.formats.nuclei import NucleiTable
from cellvit.formats.prediction import ImageFacts
from cellvit.prediction.outlines import polygons
from cellvit.prediction.outputs.geojson import geojson_writer
from cellvit.prediction.outputs.measured import measured
from cellvit.prediction.result import PredictedImage

PLACES = np.array([[20, 30], [60, 30], [40, 80]])
PIXELS = np.full((100, 100, 3), 200, np.uint8)


def image_of(*chunks: NucleiTable, **changes: object) -> PredictedImage:
    return predicted(chunks, PIXELS, **changes)


def written(path: Path, image: PredictedImage) -> Path:
    with geojson_writer(path, image.run) as writer:
        for table in image.nuclei():
            nearest = np.full(len(table), 10.0, np.float32)
            writer.write(measured(table, nearest, image), polygons(table, scale=image.run.image.scale))
    return path


@pytest.fixture
def image() -> PredictedImage:
    return image_of(square_nuclei(PLACES[:2], [1, 2]), square_nuclei(PLACES[2:], [5]))


def test_every_line_between_the_first_and_the_last_is_a_feature(image: PredictedImage, tmp_path: Path) -> None:
    first, *lines, last = written(tmp_path / "nuclei.geojson", image).read_text().splitlines()

    assert first.startswith('{"type":"FeatureCollection","cellvit":{')
    assert first.endswith('"features":[')
    assert last == "]}"
    assert [json.loads(line.removesuffix(","))["type"] for line in lines] == ["Feature"] * 3


def test_features_are_detections_with_class_colour_and_numbers(image: PredictedImage, tmp_path: Path) -> None:
    document = json.loads(written(tmp_path / "nuclei.geojson", image).read_text())

    feature = document["features"][0]
    assert feature["properties"]["objectType"] == "detection"
    assert feature["properties"]["classification"] == {"name": "Neoplastic", "color": [240, 228, 66]}
    assert uuid.UUID(feature["id"]).version == 5
    measurements = feature["properties"]["measurements"]
    assert all(type(value) is float for value in measurements.values())
    assert measurements["Probability"] == measurements["Probability: Neoplastic"] == 0.8
    assert measurements["Area µm^2"] == 4.0  # 8 x 8 px of 0.25 um
    assert measurements["Nearest nucleus µm"] == 10.0


def test_the_collection_says_what_made_it_and_what_the_licence_means(image: PredictedImage, tmp_path: Path) -> None:
    member = json.loads(written(tmp_path / "nuclei.geojson", image).read_text())["cellvit"]

    assert member["models"] == {"PanNuke, split 1": "ab" * 32}
    assert member["commercial_use"] is False
    assert "CC BY-NC-SA 4.0" in member["licence"]
    assert (member["width"], member["height"], member["mpp"]) == (100, 100, 0.25)


def test_shapely_reads_closed_valid_rings_at_level_0(tmp_path: Path) -> None:
    facts = predicted([], PIXELS).run.image.model_dump() | {"scale": 0.503, "mpp": 0.497}
    image = image_of(square_nuclei(PLACES, [1, 2, 5]), image=ImageFacts.model_validate(facts))

    document = json.loads(written(tmp_path / "nuclei.geojson", image).read_text())

    found = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in document["features"]]
    assert all(one.is_valid and one.exterior.is_closed for one in found)
    centroids = [(round(one.centroid.x, 2), round(one.centroid.y, 2)) for one in found]
    assert centroids == [tuple(np.round(place * 0.503, 2)) for place in PLACES]
    coordinates = shapely.get_coordinates(found)
    assert np.array_equal(coordinates, np.round(coordinates, 2))


@pytest.mark.parametrize("name", ["nuclei.geojson", "nuclei.geojson.gz"])
def test_our_own_reader_finds_the_same_nuclei(image: PredictedImage, tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, image)

    annotation = read_annotation(path, (100, 100), kind_of(path), Options())

    assert annotation.classes == ("Neoplastic", "Inflammatory", "Epithelial")
    assert np.bincount(annotation.instances.ravel())[1:].tolist() == [64, 64, 64]
    assert annotation.instances[30, 20] == 1
    assert not annotation.counts


def test_geojson_of_another_library_reads_it(image: PredictedImage, tmp_path: Path) -> None:
    geojson = pytest.importorskip("geojson", reason="the package geojson is not installed")

    document = geojson.loads(written(tmp_path / "nuclei.geojson", image).read_text())

    assert document.is_valid
    assert len(document.features) == 3


def test_equal_nuclei_give_equal_bytes_however_they_are_grouped(image: PredictedImage, tmp_path: Path) -> None:
    together = image_of(NucleiTable.concatenated(list(image.nuclei())))

    first, second = written(tmp_path / "a.geojson.gz", image), written(tmp_path / "b.geojson.gz", together)

    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()) == written(tmp_path / "c.geojson", image).read_bytes()


def test_an_undefined_measurement_is_left_out(tmp_path: Path) -> None:
    table = square_nuclei(PLACES, [1, 2, 5])
    eccentricity = np.array([np.nan, 0.25, np.inf], np.float32)
    image = image_of(replace(table, eccentricity=eccentricity))

    text = written(tmp_path / "nuclei.geojson", image).read_text()

    measurements = [feature["properties"]["measurements"] for feature in json.loads(text)["features"]]
    assert ["Eccentricity" in one for one in measurements] == [False, True, False]
    assert "NaN" not in text
    assert "Infinity" not in text


def test_no_nuclei_give_a_valid_empty_collection(tmp_path: Path) -> None:
    path = written(tmp_path / "nuclei.geojson", image_of())

    assert json.loads(path.read_text())["features"] == []
    assert read_annotation(path, (100, 100), kind_of(path), Options()).classes == ()


def test_hostile_names_of_classes_and_images_stay_text(tmp_path: Path) -> None:
    name = '100% "nan",\\é {x}'
    data_set = DataSet(name="own", classes=(NuclearClass(name=name, color="#ff0000"),), mpp=0.25)
    facts = predicted([], PIXELS).run.image.model_copy(update={"name": 'a"\\\n<b>.svs'})
    image = predicted([square_nuclei(PLACES, [1, 1, 1], n_classes=1)], PIXELS, data_set=data_set, image=facts)

    document = json.loads(written(tmp_path / "nuclei.geojson", image).read_text())

    assert document["cellvit"]["image"] == 'a"\\\n<b>.svs'
    properties = document["features"][0]["properties"]
    assert properties["classification"]["name"] == name
    assert properties["measurements"][f"Probability: {name}"] == pytest.approx(0.8)


def test_ids_depend_on_the_image_and_the_place_alone(tmp_path: Path) -> None:
    facts = predicted([], PIXELS).run.image.model_copy(update={"name": "other.svs"})
    alone, other = image_of(square_nuclei(PLACES[1:2], [2])), image_of(square_nuclei(PLACES, [3, 3, 3]), image=facts)

    ids = [_ids(written(tmp_path / f"{number}.geojson", one)) for number, one in enumerate((alone, other))]

    assert ids[0] == _ids(written(tmp_path / "all.geojson", image_of(square_nuclei(PLACES, [1, 2, 5]))))[1:2]
    assert len({*ids[0], *ids[1]}) == 4


def test_memory_does_not_grow_with_the_number_of_nuclei(tmp_path: Path) -> None:
    few, many = (_peak_bytes(tmp_path, n_chunks) for n_chunks in (2, 20))

    assert many < 1.2 * few


def _peak_bytes(folder: Path, n_chunks: int) -> int:
    """Peak memory while chunks of 500 nuclei are written that are made one at a time."""
    columns, rows = np.meshgrid(np.arange(10, 260, 10), np.arange(10, 210, 10))
    places = np.column_stack([columns.ravel(), rows.ravel()])
    table = square_nuclei(places, np.full(len(places), 1))

    def chunks() -> Iterator[NucleiTable]:
        for number in range(n_chunks):
            yield replace(table, x=table.x + 1000 * number)

    image = replace(image_of(), nuclei=chunks)
    tracemalloc.start()
    try:
        written(folder / f"{n_chunks}.geojson.gz", image)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _ids(path: Path) -> list[str]:
    return [feature["id"] for feature in json.loads(path.read_text())["features"]]
