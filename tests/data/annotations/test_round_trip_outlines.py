"""Random nuclei are written in each format and must be read back pixel by pixel."""

import io
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as pycoco
from roifile import ROI_TYPE, ImagejRoi

from cellvit.data.annotations.coco import read_coco
from cellvit.data.annotations.geojson import read_geojson
from cellvit.data.annotations.imagej import read_imagej
from cellvit.data.annotations.imagescope import read_imagescope
from cellvit.data.annotations.options import Options, Place

CELL = 12
SHAPE = (3 * CELL, 4 * CELL)
OFFSET = (1000, 2000)


class Truth(NamedTuple):
    instances: np.ndarray
    classes: tuple[str, ...]

    @property
    def areas(self) -> list[shapely.Geometry]:
        """Each nucleus as the union of its pixels, along their sides."""
        return [
            shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(self.instances == label)])
            for label in range(1, len(self.classes) + 1)
        ]


span = st.tuples(st.integers(0, CELL // 2), st.integers(CELL // 2 + 1, CELL))
solid = st.lists(st.tuples(span, span), min_size=1, max_size=2)  # rectangles around the middle of a cell
anywhere = st.tuples(st.integers(0, CELL - 1), st.integers(1, CELL)).filter(lambda ends: ends[0] < ends[1])
ragged = st.lists(st.tuples(anywhere, anywhere), min_size=1, max_size=4)  # the odd ones out: holes and several parts


def cells(nuclei):
    return st.dictionaries(st.integers(0, 11), st.tuples(nuclei, st.sampled_from(["1", "2", "3"])), max_size=6)


def truth_of(drawn, *, is_solid: bool) -> Truth:
    instances, classes = np.zeros(SHAPE, np.int32), []
    for at, (rectangles, name) in drawn.items():
        cell = np.zeros((CELL, CELL), bool)
        for (top, bottom), (left, right) in rectangles:
            cell[top:bottom, left:right] = True if is_solid else ~cell[top:bottom, left:right]
        if cell.any():
            classes.append(name)
            row, column = CELL * (at // 4), CELL * (at % 4)
            instances[row : row + CELL, column : column + CELL] = np.where(cell, len(classes), 0)
    return Truth(instances, tuple(classes))


def points_of(ring) -> list[list[float]]:
    return (np.array(ring.coords)[:-1] + OFFSET).tolist()


def write_geojson(path: Path, truth: Truth) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(shapely.transform(area, lambda points: points + OFFSET))),
            "properties": {"objectType": "detection", "classification": {"name": name}},
        }
        for area, name in zip(truth.areas, truth.classes, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def write_imagescope(path: Path, truth: Truth) -> None:
    layers = []
    for area, name in zip(truth.areas, truth.classes, strict=True):
        vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points_of(area.exterior))
        layers.append(
            f'<Annotation><Attributes><Attribute Name="{name}" Value=""/></Attributes>'
            f"<Regions><Region><Vertices>{vertices}</Vertices></Region></Regions></Annotation>"
        )
    path.write_text(f"<Annotations>{''.join(layers)}</Annotations>")


def write_coco(path: Path, truth: Truth, segmentations) -> None:
    annotations = [
        {"image_id": 5, "category_id": int(name), "segmentation": one, "iscrowd": 0}
        for one, name in zip(segmentations, truth.classes, strict=True)
    ]
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 3)]
    images = [{"id": 5, "file_name": "slide.png", "height": 3000, "width": 3000}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def write_coco_polygons(path: Path, truth: Truth) -> None:
    write_coco(path, truth, [[np.ravel(points_of(area.exterior)).tolist()] for area in truth.areas])


def write_coco_runs(path: Path, truth: Truth) -> None:
    def encoded(label):
        mask = np.zeros((3000, 3000), np.uint8, order="F")
        mask[OFFSET[1] : OFFSET[1] + SHAPE[0], OFFSET[0] : OFFSET[0] + SHAPE[1]] = truth.instances == label
        runs = pycoco.encode(mask)
        return {"size": runs["size"], "counts": runs["counts"].decode()}

    write_coco(path, truth, [encoded(label) for label in range(1, len(truth.classes) + 1)])


def write_zip(path: Path, truth: Truth, rois) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("empty.txt", "")
        points = ImagejRoi.frompoints(np.array([[1, 1]]))
        points.roitype = ROI_TYPE.POINT  # so that a zip without nuclei has a ROI
        archive.writestr("points.roi", points.tobytes())
        for number, (roi, name) in enumerate(zip(rois, truth.classes, strict=True)):
            roi.group = int(name)
            archive.writestr(f"{number:04}.roi", roi.tobytes())
    path.write_bytes(stream.getvalue())


def write_imagej_polygons(path: Path, truth: Truth) -> None:
    write_zip(path, truth, [ImagejRoi.frompoints(np.array(points_of(area.exterior), int)) for area in truth.areas])


def write_imagej_composites(path: Path, truth: Truth) -> None:
    def composite(area):
        values = []
        for ring in shapely.get_rings(shapely.get_parts(area)):
            values += [value for at, point in enumerate(points_of(ring)) for value in (int(at > 0), *point)] + [4]
        path = np.array(values, np.float32)
        return ImagejRoi(roitype=ROI_TYPE.RECT, multi_coordinates=path, shape_roi_size=len(path))

    write_zip(path, truth, [composite(area) for area in truth.areas])


def check(write, read, path: Path, truth: Truth) -> None:
    write(path, truth)

    found = read(path, SHAPE, Options(), Place(offset=OFFSET))

    assert found.classes == truth.classes
    assert found.instances.tolist() == truth.instances.tolist()
    assert found.annotated.all()
    assert set(found.counts) <= {"holes", "several_parts", "points", "repaired"}


often = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("write", "read"),
    [
        pytest.param(write_geojson, read_geojson, id="geojson"),
        pytest.param(write_imagescope, read_imagescope, id="imagescope"),
        pytest.param(write_coco_polygons, read_coco, id="coco polygons"),
        pytest.param(write_coco_runs, read_coco, id="coco runs"),
        pytest.param(write_imagej_polygons, read_imagej, id="imagej polygons"),
        pytest.param(write_imagej_composites, read_imagej, id="imagej composites"),
    ],
)
@often
@given(drawn=cells(solid))
def test_nuclei_without_holes_come_back(write, read, tmp_path_factory, drawn):
    check(write, read, tmp_path_factory.getbasetemp() / "solid", truth_of(drawn, is_solid=True))


@pytest.mark.parametrize(
    ("write", "read"),
    [
        pytest.param(write_geojson, read_geojson, id="geojson"),
        pytest.param(write_coco_runs, read_coco, id="coco runs"),
        pytest.param(write_imagej_composites, read_imagej, id="imagej composites"),
    ],
)
@often
@given(drawn=cells(ragged))
def test_nuclei_with_holes_and_several_parts_come_back(write, read, tmp_path_factory, drawn):
    check(write, read, tmp_path_factory.getbasetemp() / "ragged", truth_of(drawn, is_solid=False))
